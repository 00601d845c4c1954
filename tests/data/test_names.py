"""What the names of known data sets say, and what is left alone as mere counting."""

import pytest

from faceproof.data.names import IDENTITY, SOURCE_VIDEO, credible_values, inner_paths, values_of

FF = "manipulated_sequences/{}/c23/images/{}/0001.png"


def named(path):
    return {(value.key, value.name) for value in values_of(path)}


def videos(*names):
    return {(SOURCE_VIDEO, name) for name in names}


def people(*names):
    return {(IDENTITY, name) for name in names}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (FF.format("Deepfakes", "000_003"), videos("000", "003")),
        ("original_sequences/youtube/c40/images/003/012.png", videos("003")),
        ("fake/000_003.png", videos("000", "003")),
        ("fake/000_003_0012.png", videos("000", "003")),
        ("real/003_0012.png", videos("003")),
        (FF.format("DeepFakeDetection", "01_02__kitchen_pan__8DTEGQ54"), people("01", "02")),
        ("original_sequences/actors/c23/images/07__exit_phone_room/1.png", people("07")),
        ("manipulated_videos/end_to_end/000_M101/3.jpg", videos("000") | people("m101")),
        ("source_videos/W009/camera_down/3.jpg", people("w009")),
        ("Celeb-synthesis/id1_id2_0003/00.png", people("id1", "id2")),
        ("Celeb-real/id1_0007.png", people("id1")),
        ("YouTube-real/00001/00.png", set()),
        ("FakeVideo/men/id00076/00109_id00166_wavtolip/1.png", people("id00076", "id00166")),
        ("dfdc_train_part_12/aaqaifqrwn/001.png", people("dfdc_train_part_12")),
        ("method_A/1788687_1224068_A_000/1.png", people("1788687", "1224068")),
        ("original/1788687_A_000.png", people("1788687")),
        ("DeepfakeTIMIT/lower_quality/fadg0/sa1-video-fram1/1.png", people("fadg0")),
        ("fake_train/12/fake/345/1.png", videos("fake_train/12")),
        ("lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg", people("aaron_eckhart")),
        ("train/n000123/0001_01.jpg", people("n000123")),
        ("real/Person 12/a.jpg", people("person12")),
        ("fake/subject-3_to_subject-4.jpg", people("subject3", "subject4")),
        ("fake/video_12/0001.png", videos("fake/video_12")),
        ("real/holiday_frame_0012.png", videos("real/holiday")),
    ],
)
def test_what_names_say(path, expected):
    assert named(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "Real/00012.jpg", "Train/Real/real_1065.jpg", "training_fake/training_fake_0001.jpg",
        "0-FFHQ/00000/img00000012.png", "training_fake/easy_100_1111.jpg", "valid12/fake1.jpg",
        "train/faces/caltech101_image_0001.jpg", "fake/seed0001.png", "DSC_0123.JPG",
        "real/20240101_120000.jpg", "fake/fold1/a.jpg", "a/b", ".hidden", "",
    ],
)  # fmt: skip
def test_names_that_say_nothing(path):
    assert not named(path)


def test_three_digits_count_only_where_names_bear_each_other_out():
    assert credible_values(["real/001.jpg", "fake/002.jpg", "fake/001_002.png"])[2]
    assert credible_values(["fake/001_002/1.png", "fake/002_001/1.png"])[0]
    for counting in ("real/001.jpg fake/001.jpg", "a/100_200.jpg a/300_400.jpg", "M101/1.png b"):
        assert not any(credible_values(counting.split())), counting
    (with_folders,) = credible_values([FF.format("Face2Face", "000_003")])
    assert {value.name for value in with_folders} == {"000", "003"}
    both = credible_values(["fake/000_M101/1.png", "real/M101/1.png", "real/000/1.png"])
    assert [{value.name for value in row} for row in both] == [{"000", "m101"}, {"m101"}, {"000"}]


def test_the_number_of_a_frame_is_no_video():
    paths = [FF.format("Deepfakes", "clip a").replace("0001", "001"), "fake/000_003/001.png"]
    for trusted in (False, True):
        assert not credible_values(paths, trusted)[0]
    assert {value.name for value in credible_values(paths, trusted=True)[1]} == {"000", "003"}
    flat = ["real/000.png", "fake/000_003.png", "real/007.png"]
    assert not any(credible_values(flat))
    trusted = credible_values(flat, trusted=True)
    assert [{v.name for v in row} for row in trusted] == [{"000"}, {"000", "003"}, set()]
    found = credible_values([*flat, "real/003.png"])
    assert [{v.name for v in row} for row in found] == [{"000"}, {"000", "003"}, set(), {"003"}]


def test_what_lies_above_a_set_is_no_part_of_its_names():
    above = "/home/id7/person_3/set"
    assert inner_paths([f"{above}/real/1.jpg", f"{above}/fake/1.jpg"]) == [
        "real/1.jpg",
        "fake/1.jpg",
    ]
    assert inner_paths([f"{above}/1.jpg", f"{above}/2.jpg"]) == ["1.jpg", "2.jpg"]
    shard = f"{above}/shard-000000.tar@0-12-0123abcd/"
    assert inner_paths([f"{shard}real/id1_0001.jpg", f"{shard}fake/1.jpg"]) == [
        "real/id1_0001.jpg", "fake/1.jpg",
    ]  # fmt: skip
    assert inner_paths([]) == []
