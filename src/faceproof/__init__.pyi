from .api import audit_data as audit_data
from .api import build_model as build_model
from .api import compare_scores as compare_scores
from .api import list_data as list_data
from .api import make_datamodule as make_datamodule
from .api import make_module as make_module
from .api import score_data as score_data
from .audit.audit import Audit as Audit
from .data.listing import DataSet as DataSet
from .data.listing import FolderData as FolderData
from .errors import FaceproofError as FaceproofError
from .evaluation.intervals import bootstrap_intervals as bootstrap_intervals
from .evaluation.metrics import METRICS as METRICS
from .evaluation.metrics import Metric as Metric
from .evaluation.metrics import measure as measure
from .evaluation.statistics import Difference as Difference
from .inference.predictor import Predictor as Predictor
from .inference.predictor import load as load
from .inference.verdicts import Verdict as Verdict
from .models.detector import Detector as Detector
from .reports.notebook import Page as Page
from .reports.notebook import show_report as show_report
from .task import Task as Task
from .training.datamodule import ImageDataModule as ImageDataModule
from .training.module import DetectorModule as DetectorModule

__version__: str
