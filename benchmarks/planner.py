"""Our planner on the true simulator: what the cross-entropy method reaches where the model is perfect.

    python benchmarks/planner.py [--tasks cartpole_swingup ...] [--episodes 2] [--candidates 1000]

Nothing is learned: `cem` plans each action on copies of the simulated state, so a score below the published one
(PlaNet, table 1, "CEM + true simulator") is a fault of the planner, of the action repeat or of how rewards are summed.
The defaults are the paper's: horizon 12 actions, 10 iterations, 1000 candidates, 100 elites, no discount, the first
action of the mean. MuJoCo rolls all candidates out in C; rewards are the tasks' own, for whole arrays of states.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from mujoco import rollout
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.behavior.planner import cem  # noqa: E402
from robot_dreamer.option_types import whole_number  # noqa: E402
from sim.worlds import load_suite  # noqa: E402

suite = load_suite()
from dm_control.utils.rewards import tolerance  # noqa: E402

Array = NDArray[np.float64]
FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS
FRAMES = 1000  # of an episode


@dataclass(frozen=True)
class States:
    """Arrays over all frames of all candidates, last axis: coordinates, their speeds, the motors, the sensors."""

    position: Array
    velocity: Array
    control: Array
    sensors: Array
    model: Any


def cartpole(x: States) -> Array:
    """Pole up, cart in the middle, little control, little speed."""
    centered = tolerance(x.position[..., 0], margin=2)
    control = tolerance(x.control[..., 0], margin=1, value_at_margin=0, sigmoid="quadratic")
    slow = tolerance(x.velocity[..., 1], margin=5)
    upright = (np.cos(x.position[..., 1]) + 1) / 2
    return np.asarray(upright * (4 + control) / 5 * (1 + slow) / 2 * (1 + centered) / 2)


def reacher(x: States) -> Array:
    """Finger within the target."""
    first, second = x.position[..., 0], x.position[..., 0] + x.position[..., 1]
    finger = 0.12 * np.stack((np.cos(first) + np.cos(second), np.sin(first) + np.sin(second)), -1)
    target = mujoco.mj_name2id(x.model, mujoco.mjtObj.mjOBJ_GEOM, "target")
    hand = mujoco.mj_name2id(x.model, mujoco.mjtObj.mjOBJ_GEOM, "finger")
    radii = x.model.geom_size[[target, hand], 0].sum()
    distance = np.linalg.norm(finger - x.model.geom_pos[target, :2], axis=-1)
    return np.asarray(tolerance(distance, (0, radii)))


def cheetah(x: States) -> Array:
    """Speed of the centre of mass, up to 10 m/s."""
    reward = tolerance(x.sensors[..., 0], (10, np.inf), margin=10, value_at_margin=0, sigmoid="linear")
    return np.asarray(reward)


def finger(x: States) -> Array:
    """The spinner turns faster than 15 rad/s."""
    return np.asarray(x.velocity[..., 2] <= -15, np.float64)


def cup(x: States) -> Array:
    """Ball within the cup."""
    target = mujoco.mj_name2id(x.model, mujoco.mjtObj.mjOBJ_SITE, "target")
    size = x.model.site_size[target, [0, 2]] - x.model.geom_size[x.model.ngeom - 1, 0]
    apart = np.abs(x.position[..., :2] + [0, 0.6 - 0.05] - x.position[..., 2:4] - [0, 0.2])
    return np.asarray((apart < size).all(-1), np.float64)


def walker(x: States) -> Array:
    """Torso high and upright, centre of mass faster than 1 m/s."""
    standing = tolerance(x.position[..., 0] + 1.3, (1.2, np.inf), margin=0.6)
    stand = (3 * standing + (1 + np.cos(x.position[..., 2])) / 2) / 4
    move = tolerance(x.sensors[..., 0], (1, np.inf), margin=0.5, value_at_margin=0.5, sigmoid="linear")
    return np.asarray(stand * (5 * move + 1) / 6)


@dataclass(frozen=True)
class Task:
    """A published task: dm_control's names, action repeat, published score, reward."""

    domain: str
    name: str
    repeat: int
    published: int
    reward: Callable[[States], Array]


TASKS = {
    "cartpole_swingup": Task("cartpole", "swingup", 8, 850, cartpole),
    "reacher_easy": Task("reacher", "easy", 4, 964, reacher),
    "cheetah_run": Task("cheetah", "run", 4, 656, cheetah),
    "finger_spin": Task("finger", "spin", 2, 825, finger),
    "cup_catch": Task("ball_in_cup", "catch", 4, 993, cup),
    "walker_walk": Task("walker", "walk", 2, 994, walker),
}


class Rollouts:
    """Returns of action sequences from the state in which the environment is."""

    def __init__(self, environment: Any, task: Task) -> None:
        self._physics, self._task, self._substeps = environment.physics, task, environment._n_sub_steps
        self._data = mujoco.MjData(self._physics.model.ptr)

    def __call__(self, actions: torch.Tensor, _: int) -> torch.Tensor:
        """(1, J, H, A) -> (1, J)."""
        return torch.from_numpy(self.rewards(actions[0].numpy()).sum((1, 2)))[None]

    def rewards(self, actions: NDArray[Any]) -> Array:
        """(J, H, A) -> rewards (J, H, R) of each frame."""
        model, data = self._physics.model.ptr, self._physics.data.ptr
        start = np.empty(mujoco.mj_stateSize(model, FULL))
        mujoco.mj_getState(model, data, start, FULL)
        frames = np.repeat(actions.astype(np.float64), self._task.repeat, 1)  # (J, F, A)
        # MuJoCo's step leaves the sensors of the state before it, so one more step shows those of the last frame.
        control = np.repeat(frames, self._substeps, 1)
        control = np.concatenate((control, control[:, -1:]), 1)
        states, sensors = rollout.rollout(model, [self._data], start, control, initial_warmstart=data.qacc_warmstart)
        seen = sensors[:, self._substeps :: self._substeps]
        states = states[:, self._substeps - 1 : -1 : self._substeps, 1:]  # without the time
        position, velocity = states[..., : model.nq], states[..., model.nq : model.nq + model.nv]
        rewards = self._task.reward(States(position, velocity, frames, seen, model))
        return rewards.reshape(len(actions), -1, self._task.repeat)


def episode(task: Task, seed: int, sizes: tuple[int, int, int, int]) -> float:
    """Score of one planned episode; sizes: horizon, iterations, candidates, elites."""
    environment = suite.load(task.domain, task.name, task_kwargs={"random": seed})
    rollouts, generator = Rollouts(environment, task), torch.Generator().manual_seed(seed)
    horizon, iterations, candidates, elites = sizes
    shape = (1, iterations, candidates, horizon, *environment.action_spec().shape)
    environment.reset()
    score = 0.0
    for _ in range(FRAMES // task.repeat):
        action = cem(rollouts, torch.randn(shape, generator=generator), elites).mean[0, 0].numpy()
        score += sum(float(environment.step(action).reward) for _ in range(task.repeat))
    return score


def main() -> None:
    """Print a line per episode and a row per task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["cartpole_swingup"])
    parser.add_argument("--episodes", type=whole_number(1), default=2, help="of each task, seeds 0, 1, ...")
    parser.add_argument("--horizon", type=whole_number(1), default=12, help="planned actions")
    parser.add_argument("--iterations", type=whole_number(1), default=10)
    parser.add_argument("--candidates", type=whole_number(2), default=1000)
    parser.add_argument("--elites", type=whole_number(1), default=100)
    parser.add_argument("--repeat", type=whole_number(1), help="frames per action instead of the published number")
    options = parser.parse_args()
    if options.elites > options.candidates:
        parser.error(f"argument --elites: expected at most --candidates = {options.candidates}, found {options.elites}")
    warnings.filterwarnings("ignore", module="glfw")
    torch.set_num_threads(1)
    sizes = (options.horizon, options.iterations, options.candidates, options.elites)
    print(f"{machine('mujoco', 'dm_control', 'torch')}\nhorizon, iterations, candidates, elites: {sizes}", flush=True)
    for name in options.tasks:
        task = TASKS[name]
        if options.repeat:
            task = Task(task.domain, task.name, options.repeat, task.published, task.reward)
        scores = []
        for seed in range(options.episodes):
            begun = time.perf_counter()
            scores.append(episode(task, seed, sizes))
            print(f"  {name} seed {seed}: {scores[-1]:.1f} ({time.perf_counter() - begun:.0f} s)", flush=True)
        low, mean, high = min(scores), np.mean(scores), max(scores)
        print(f"{name}, repeat {task.repeat}: mean {mean:.0f} ({low:.0f} to {high:.0f}); published {task.published}")


if __name__ == "__main__":
    main()
