"""What could not be made: the waits grow, an image's error softens, and all is forgotten with success."""

from netemu.kubelet import problems


def test_waits_grow_by_reason_and_begin_anew_after_success():
    known = problems.Problems()

    def waits(reason):
        known.remember("a", reason, "no", 100.0)
        return known.known["a"].retry_at - 100.0

    assert [waits("ErrImagePull") for _ in range(6)] == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0]
    known.forgive("a")
    assert known.known == {}
    assert list(known.moments()) == []
    assert [waits("CreateContainerConfigError") for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_an_image_that_cannot_be_pulled_is_backing_off_two_seconds_later():
    known = problems.Problems()
    known.remember("a", "ErrImagePull", "there is none", 100.0)
    assert list(known.moments()) == [102.0]
    assert list(known.soften(101.9, {"a": "nosuch:1"})) == []
    assert known.known["a"].reason == "ErrImagePull"
    assert list(known.soften(102.0, {"a": "nosuch:1"})) == [("a", 'Back-off pulling image "nosuch:1"')]
    assert known.known["a"] == (
        "ImagePullBackOff",
        'Back-off pulling image "nosuch:1": ErrImagePull: there is none',
        110.0,
    )
    assert list(known.moments()) == []
