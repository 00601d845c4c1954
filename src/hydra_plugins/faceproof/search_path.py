"""Where Hydra finds the choices: the user's own `conf/`, then faceproof's, then experiments/."""

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnConf(SearchPathPlugin):
    """Adds `conf/` in the working folder, and the experiments that come with faceproof."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders, unless the program is another one."""
        from faceproof.app import config_root, own_conf

        root = config_root()
        paths = [element.path.removeprefix("file://") for element in search_path.get_path()]
        if str(root / "conf") not in paths:
            return
        if (own := own_conf()) is not None:
            search_path.prepend("own", f"file://{own}", SearchPathQuery(provider="main"))
        search_path.append("faceproof", f"file://{root}")
