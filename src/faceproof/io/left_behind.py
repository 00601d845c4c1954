"""Names of files and folders that systems, synchronisers, archivers and editors leave behind.

They lie where people's files lie, and nobody means them.
"""

import os
import re
from pathlib import Path

# What stands for a colon where a name may hold none: on FAT drives, in copies by rclone.
_COLON = "[:\uf03a\uf022\uff1a]"
# Names that systems and programs give to files of their own, which are never images.
_OF_SYSTEMS = re.compile(
    r"(ehthumbs(_vista)?|thumbs|iconcache|zbthumbnail|xnview|digikam4)\.(db|info)"
    r"|desktop\.ini|picasa\.ini|pspbrwse\.jbf|icon(\r|\uf00d|\u240d|\^m)|\.?_?ds_store|finder\.dat"
    r"|.*@syno(eastream|resource)|syno(file|photo)_thumb.*|pax_global_header|@longlink|\._.*"
    r"|~\$.*|#.*#|.*\.(icloud|dropbox)"
    r"|\.(nfs[0-9a-f]+|fuse_hidden[0-9a-f]+|syncthing\..*|~.*|directory|localized|gitkeep|nomedia"
    r"|smbdelete.*|trashed-.*|pending-.*|picasa\.ini|bridge.*|apdisk|dropbox.*|stfolder|stignore)"
    rf"|.*zone\.identifier({_COLON}\$data)?|.*{_COLON}\$data"
    rf"|.*{_COLON}(smartscreen|encryptable|com\.[a-z.]+.*|afp_.*|ms-properties|favicon|docf_.*)",
    re.IGNORECASE | re.DOTALL,
)
_CONFLICT = (
    r".*\(.*(conflicted copy|(case|sync) conflict|conflict #|sfconflict|konflikt.*kopie"
    r"|copie en conflit|copia en conflicto|copia in conflitto|c.pia em conflito).*\).*"
    r"|.*\.sync-conflict-[0-9].*|.*_conflict-[0-9].*|.*\.conflict\.[^.]+|.*_conf\([0-9]+\).*"
)
# Copies, and files that are not whole; taken where they are named one by one.
_COPIES = re.compile(
    r".*~|.*\.(tmp|temp|part|partial|crdownload|download|opdownload|filepart|aria2|!ut|!qb|!sync"
    rf"|bak|backup|bkp|old|orig|rej|sav|swp|swo|swn|autosave)[0-9]*|{_CONFLICT}",
    re.IGNORECASE | re.DOTALL,
)
_FOLDERS = re.compile(
    r"__macosx|__pycache__|@eadir|@tmp|@recycle|@recently-snapshot|@syno.*|@sharebin|#recycle"
    r"|#snapshot|~snapshot|\$recycle\.bin|recycler|system volume information|lost\+found"
    r"|lost\.dir|found\.[0-9]{3}|network trash folder|temporary items|thevolumesettingsfolder"
    r"|resource\.frk|paxheaders?(\.[0-9a-z]+)?|gnusparsefile\.[0-9]+|trashbox|onedrivetemp"
    rf"|dfsrprivate|{_CONFLICT}",
    re.IGNORECASE | re.DOTALL,
)
# Folders of which a list or a pattern may name files that nobody means.
_INSIDE = re.compile(
    r"(^|.*[/\\])(__macosx|@eadir|[#@]recycle|\$recycle\.bin|lost\+found|\.trash[^/\\]*)[/\\].*",
    re.IGNORECASE | re.DOTALL,
)


def is_left_behind(path: str) -> bool:
    """Say whether a file that was named or matched is one that a system or program has made.

    It has a name of such files, or lies in a folder for them.
    """
    name = path.rpartition(os.sep)[2]
    return _OF_SYSTEMS.fullmatch(name) is not None or _INSIDE.fullmatch(path) is not None


def holds_nothing(folder: Path) -> bool:
    """Say whether a folder is empty, but for files that a system has made by looking into it."""
    return all(is_left_behind(one.name) and one.is_file() for one in folder.iterdir())


def is_left_behind_folder(name: str) -> bool:
    """Say whether a folder is hidden, or one that a system, synchroniser or archiver makes."""
    return name.startswith(".") or _FOLDERS.fullmatch(name) is not None


def is_copy(name: str) -> bool:
    """Say whether a file is one that a synchroniser or editor makes of another, or is not whole."""
    return _COPIES.fullmatch(name) is not None
