"""The control loop of the real policy node under load: missed deadlines, and those that a bundle swap caused.

    python -m benchmarks.loop [--rates 50 100 200] [--seconds 60] [--size 12m] [--weights float32] [--priority 0]
                              [--picture FILE.png]
    python -m benchmarks.loop --rates 100 --minutes 60 --course hour.png     lateness, misses, memory over the hour

Four processes on this machine: the policy node (real time, real ROS 2), a robot that publishes its sensors at the
control rate, a learner that takes the experience over the link and publishes another bundle every 5 s, and a loop of
the same rate that does nothing. What the last one misses is the machine's doing. A miss counts as caused by a swap when
it falls between the moment the node begins to look at a bundle and two periods after the exchange.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.loop_course import Course, Resources, Ticks, draw_course  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.policy_process import policy_node  # noqa: E402
from robot_dreamer.onboard.bundle import read_bundle, write_bundle  # noqa: E402
from robot_dreamer.onboard.priority import set_priority  # noqa: E402
from robot_dreamer.onboard.rate import RateHistory, RateLoop  # noqa: E402
from robot_dreamer.processes.ros_domain import own_domain  # noqa: E402
from robot_dreamer.spec import RobotSpec, load_spec  # noqa: E402

SWAP_EVERY = 5.0  # seconds
SETTLE = 3.0  # seconds after the first bundle acts that are not counted
PATIENCE = 120.0


@dataclass(frozen=True)
class Result:
    """What one rate showed; times in seconds. Trouble: what ended it before its time, empty if nothing did."""

    rate: float
    course: Course
    rows: int
    busy_max: float
    trouble: str = ""

    @property
    def ticks(self) -> RateHistory:
        """Of the policy node's loop."""
        return self.course.ticks

    @property
    def in_swaps(self) -> NDArray[np.bool_]:
        """Which ticks fall into a swap."""
        starts = self.ticks.starts
        inside = np.zeros(len(starts), np.bool_)
        for begin, end in self.course.windows:
            inside |= (starts >= begin) & (starts <= end + 2 / self.rate)
        return inside


def spec_at(rate: float) -> RobotSpec:
    """The cart-pole as a robot without a reset, at another rate."""
    plain: dict[str, Any] = msgspec.to_builtins(load_spec("cartpole"))
    plain |= {"rate": rate, "episode": {"max_steps": 1000}}
    return msgspec.convert(plain, RobotSpec)


def export(size: str, weights: str, spec: RobotSpec, path: Path) -> None:
    """A bundle with fresh weights. In a process of its own: the policy node's never imports torch."""
    import torch

    from export.exporter import BundleExporter
    from robot_dreamer.config import load_config
    from robot_dreamer.learner.agent import Agent

    torch.set_num_threads(1)
    config = load_config(f"dreamer_v3:{size}", ["device=cpu"])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    BundleExporter(agent.policy_step(), spec, config, weights=weights).export(path, version=1, training_step=1)


def learn(spec: RobotSpec, bundle: Path, folder: Path, ready: Any, stop: Any, rows: Any) -> None:
    """Takes experience, publishes the same policy under a higher version every 5 s."""
    from robot_dreamer.link.server import LinkServer  # here: it must not count as the robot's memory
    from robot_dreamer.link.store import ExperienceStore

    store = ExperienceStore(folder / "store.sqlite", spec)
    server = LinkServer(store, spec, "tcp://127.0.0.1:*")
    server.start()
    content = read_bundle(bundle, spec)
    ready.put(server.address)
    version = 0
    while not stop.is_set():
        version += 1
        manifest = msgspec.structs.replace(content.manifest, version=version)
        path = folder / f"bundle-{version:08d}.zip"
        write_bundle(path, content.model, manifest, content.recording)
        server.publish(path, version, version)
        stop.wait(SWAP_EVERY)
    server.stop()
    rows.value = store.count()
    store.close()


def be_robot(spec: RobotSpec, stop: Any) -> None:
    """Publishes sensors and reward at the control rate."""
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import JointState

    from robot_dreamer.ros_types import message_class

    rclpy.init()
    node = Node("robot")
    command = spec.actions[0].command  # the policy node does not begin before somebody listens
    node.create_subscription(message_class(command.type), command.topic, lambda _: None, 1)
    joints, task = node.create_publisher(JointState, "joint_states", 1), node.create_publisher(JointState, "task", 1)
    loop = RateLoop(spec.period)
    while not stop.is_set():
        loop.wait()
        t = time.monotonic()
        state = JointState(name=["slider", "hinge_1"], position=[np.sin(t), t], velocity=[np.cos(t), 1.0])
        score = JointState(name=["reward", "terminal"], position=[1.0, 0.0])
        state.header.stamp = score.header.stamp = node.get_clock().now().to_msg()
        joints.publish(state)
        task.publish(score)
    node.destroy_node()
    rclpy.shutdown()


def idle(period: float, priority: int, most: int, go: Any, stop: Any, path: Path) -> None:
    """A loop that does nothing; leaves its history in a file."""
    set_priority(threading.get_native_id(), priority, -1)
    go.wait(PATIENCE)
    loop, ticks = RateLoop(period), Ticks(most)
    while not stop.is_set():
        loop.wait()
        ticks.take(loop, 1024)
    ticks.take(loop, 0)
    history = ticks.history()
    np.savez(path, starts=history.starts, late=history.late, missed=history.missed)


def measure(rate: float, seconds: float, size: str, weights: str, priority: int, folder: Path) -> Result:
    """All processes at one rate; this one becomes the policy node, and shall have been nothing else before."""
    spawn = mp.get_context("spawn")
    spec = spec_at(rate)
    bundle = folder / "first.bundle"
    child = spawn.Process(target=export, args=(size, weights, spec, bundle))
    child.start()
    join([child])
    ready, stop, go = spawn.Queue(), spawn.Event(), spawn.Event()
    rows, beside = spawn.Value("q", 0), folder / "idle.npz"
    most = int(1.1 * rate * (seconds + PATIENCE))
    children = [
        spawn.Process(target=learn, args=(spec, bundle, folder, ready, stop, rows)),
        spawn.Process(target=be_robot, args=(spec, stop)),
        spawn.Process(target=idle, args=(spec.period, priority, most, go, stop, beside)),
    ]
    for child in children:
        child.daemon = True  # where this process fails they end with it
        child.start()
    ticks, resources = Ticks(most), Resources()
    windows, busy, trouble = drive(spec, ready.get(timeout=PATIENCE), seconds, priority, folder, go, ticks, resources)
    stop.set()
    join(children)
    with np.load(beside) as found:
        idle_history = RateHistory(len(found["starts"]), found["starts"], found["late"], found["missed"])
    course = Course(ticks.history(), idle_history, np.array(resources.samples), windows)
    return Result(rate, course, rows.value, busy, trouble)


def drive(
    spec: RobotSpec,
    address: str,
    seconds: float,
    priority: int,
    folder: Path,
    go: Any,
    ticks: Ticks,
    resources: Resources,
) -> tuple[list[tuple[float, float]], float, str]:
    """The policy node in this process, as `ros_nodes.policy_node` runs it; returns swaps, longest work, trouble."""
    robot = folder / "robot.yaml"
    robot.write_text(spec.to_json())
    values = {"robot": str(robot), "learner": address, "logdir": str(folder / "robot"), "priority": priority}
    with policy_node({**values, "automatic": True, "random_actions": True}) as (node, executor):
        if not node.bring_up():
            raise RuntimeError("the policy node could not be brought up")
        components = node.components
        assert components is not None
        offered: dict[int, float] = {}
        offer = components.slot.offer

        def watched_offer(path: Path) -> None:
            offered[int(path.stem.split("-")[1])] = time.monotonic()  # the version, as the inbox names the file
            offer(path)

        components.slot.offer = watched_offer  # type: ignore[method-assign]

        def spin_until(condition: Any, what: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while not condition():
                if node.failure or time.monotonic() > deadline:
                    raise RuntimeError(f"{what}: {node.failure or 'not in time'}; {components.slot.last_refusal}")
                executor.spin_once(timeout_sec=0.1)

        spin_until(lambda: components.slot.swaps and components.controller.steps, "the first bundle")
        settled = time.monotonic() + SETTLE
        spin_until(lambda: time.monotonic() > settled, "settling")
        go.set()
        loop = components.runner.loop
        end, swaps, swapped = time.monotonic() + seconds, components.slot.swaps, dict[int, float]()
        begin, trouble = time.monotonic(), ""
        ticks.begin(loop)
        while time.monotonic() < end and not trouble:
            executor.spin_once(timeout_sec=0.1)
            if components.slot.swaps > swaps:
                swaps = components.slot.swaps
                swapped[components.slot.current.version] = time.monotonic()
            ticks.take(loop)
            resources.look()
            # What it measured until then is worth having, after fifty minutes above all.
            trouble = node.failure or components.controller.guard.fault or components.slot.last_refusal
        ticks.take(loop, 0)
        busy = loop.stats().busy_max
        if trouble:
            trouble = f"after {time.monotonic() - begin:.1f} s: {trouble}"
    return swap_windows(offered, swapped), busy, trouble


def swap_windows(offered: Mapping[int, float], swapped: Mapping[int, float]) -> list[tuple[float, float]]:
    """From the moment that a bundle is offered to when it acts, s; both by its version.

    One that was offered before counting began counts from then on; one that was superseded or refused never acts.
    """
    return [(offered[version], moment) for version, moment in swapped.items()]


def join(children: list[Any]) -> None:
    """Wait for processes and raise if one failed."""
    for child in children:
        child.join(PATIENCE)
        if child.exitcode != 0:
            child.kill()
            raise RuntimeError(f"a process of the benchmark ended with status {child.exitcode}")


def line(result: Result) -> str:
    """One row of the table."""
    ticks, idle, inside = result.ticks, result.course.idle, result.in_swaps
    swaps = len(result.course.windows)
    missed, idle_missed = int(ticks.missed.sum()), int(idle.missed.sum())
    deadlines = len(ticks.starts) + missed
    in_swaps = int(ticks.missed[inside].sum())
    late = 1e3 * np.percentile(ticks.late, [50, 99, 99.9, 100])
    return (
        f"{result.rate:5g}{deadlines:11}{missed:8}{100 * missed / deadlines:9.3f}{swaps:7}{in_swaps:10}"
        f"{100 * inside.mean():9.1f}" + "".join(f"{x:9.3f}" for x in late) + f"{1e3 * result.busy_max:9.2f}"
        f"{100 * idle_missed / max(1, len(idle.starts) + idle_missed):9.3f}{result.rows:8}"
    )


HEADER = (
    "                          missed         misses  % of                                         busy     idle\n"
    "   Hz  deadlines  missed        %  swaps  in swaps   time"
    "  late p50      p99    p99.9      max  max ms   missed %    rows"
)


def draw(results: list[Result], picture: Path) -> None:
    """Histogram of lateness, one panel for each rate; ticks in swaps apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(4 * len(results), 3.2), sharey=True, squeeze=False)
    for panel, result in zip(panels[0], results, strict=True):
        edges = np.geomspace(0.01, 1.1e3 * max(r.ticks.late.max() for r in results) + 0.02, 60)
        late, inside = np.clip(1e3 * result.ticks.late, edges[0], None), result.in_swaps
        panel.hist([late[~inside], late[inside]], edges, stacked=True, label=["otherwise", "during a swap"])
        panel.axvline(1e3 / result.rate, color="black", linestyle=":", label="period")
        panel.set(xscale="log", yscale="log", xlabel="tick after its deadline, ms")
        missed = int(result.ticks.missed.sum())
        panel.set_title(f"{result.rate:g} Hz: {missed} of {len(result.ticks.starts) + missed} missed")
    panels[0][0].set_ylabel("ticks")
    panels[0][0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    print(f"written: {picture}")


def main() -> None:
    """Measure all rates, print a table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", nargs="+", type=float, default=[50.0, 100.0, 200.0], help="control rates, Hz")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each rate")
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of --seconds")
    parser.add_argument("--size", default="12m", help="model size (preset)")
    parser.add_argument("--weights", default="float32", help="of the bundles: float32 or int8")
    parser.add_argument("--priority", type=int, default=0, help="real-time priority of the control loop; 0: none")
    parser.add_argument("--picture", type=Path, help="histogram to draw")
    parser.add_argument("--course", type=Path, help="picture to draw of the first rate: lateness and memory over time")
    options = parser.parse_args()
    seconds = 60 * options.minutes or options.seconds
    what = f"{options.size}, {options.weights}, state, priority {options.priority}"
    print(f"{machine('onnxruntime')}\n{what}\n\n{HEADER}", flush=True)
    results, troubles = list[Result](), list[str]()
    with own_domain() as domain:
        os.environ |= domain
        for rate in options.rates:
            with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp.get_context("spawn")) as fresh:
                every = (rate, seconds, options.size, options.weights, options.priority, Path(folder))
                result = fresh.submit(measure, *every).result()
            if result.trouble:
                troubles.append(f"{rate:g} Hz ended {result.trouble}")
            if len(result.ticks.starts):  # none where it ended while it settled
                results.append(result)
                print(f"{line(result)}\n{result.course.summary()}", flush=True)
    if options.picture is not None and results:
        draw(results, options.picture)
    if options.course is not None and results:
        draw_course(results[0].course, results[0].rate, options.course)
    if troubles:
        raise SystemExit("\n".join(troubles))


if __name__ == "__main__":
    main()
