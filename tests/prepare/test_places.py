"""Where crops go: names that any file system takes, and no two files in one place."""

import re

from hypothesis import given
from hypothesis import strategies as st

from faceproof.prepare.places import media_of, relative_names

NAME = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40)


def rows(paths, **values):
    empty = {"label": "fake", "generator": None, "source": "mine"}
    return [{**empty, **values, "path": path} for path in paths]


def places(paths, **values):
    return [one.place for one in media_of(rows(paths, **values), relative_names(paths))]


def test_names_are_relative_to_the_folder_that_holds_all():
    assert relative_names(["/a/b/c/1.png", "/a/b/2.mp4"]) == ["c/1.png", "2.mp4"]
    assert relative_names(["/a/b/1.png"]) == ["1.png"]


def test_two_files_of_one_name_have_two_places():
    one, other = places(["/data/x/clip.mp4", "/data/y/clip.mp4"])
    assert one != other
    assert one.startswith("faces/fake/mine/clip-")


def test_places_do_not_depend_on_where_the_data_lies():
    assert places(["/data/x/a.png", "/data/y/b.png"]) == places(["/mnt/x/a.png", "/mnt/y/b.png"])


def test_a_photograph_lies_in_one_of_many_folders_and_a_video_has_its_own():
    photograph, video = places(["/d/a.jpg", "/d/b.MP4"], label=None, generator="Swap it!")
    assert re.fullmatch(r"faces/unlabelled/Swap_it/[0-9a-f]{2}/a-[0-9a-f]{12}", photograph)
    assert re.fullmatch(r"faces/unlabelled/Swap_it/b-[0-9a-f]{12}", video)


@given(st.lists(NAME, min_size=1, unique=True))
def test_odd_names_give_plain_places_of_their_own(names):
    found = places([f"/data/{name}" for name in names if name not in (".", "..")])
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_/-]+", place) for place in found)
    assert all(len(place) < 120 for place in found)
