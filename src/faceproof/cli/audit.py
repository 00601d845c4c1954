"""`faceproof audit`."""

from faceproof.cli.shell import shell
from faceproof.workflows.audit import AuditConfig, audit


@shell(example="faceproof audit data=demo")
def command(config: AuditConfig) -> int:
    """Audit a data set; 1 if there are errors or warnings."""
    from faceproof import app

    look = config.look()  # refuses settings before the data set is listed
    return 0 if audit(app.compose_data(config.of_data), config, look).clear else 1
