from robot_dreamer.onboard.stages import StageTimes


def test_pieces_of_a_stage_add_up_and_the_worst_tick_is_kept() -> None:
    now = 0.0

    def clock() -> float:
        return now

    times = StageTimes(clock)
    for ticks in ((0.5, 1.0, 0.25), (2.0, 0.5, 0.5)):
        times.begin()
        for stage, seconds in zip(("guard", "infer", "guard"), ticks, strict=True):
            now += seconds
            times.done(stage)  # type: ignore[arg-type]
    assert times.worst() == {"observe": 0.0, "infer": 1.0, "guard": 2.5, "publish": 0.0, "record": 0.0}


def test_old_ticks_are_forgotten() -> None:
    now = 0.0
    times = StageTimes(lambda: now)
    times.begin()
    now = 9.0
    times.done("infer")
    for _ in range(4096):
        times.begin()
    assert times.worst()["infer"] == 0.0
