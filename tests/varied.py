"""A small robot with something of everything that can vary, and what the spec's `simulation` adds."""

from __future__ import annotations

from pathlib import Path

from robot_dreamer.spec import RobotSpec, load_spec

MODEL = """<mujoco><option timestep="0.005" gravity="0 0 0"/>
<asset><material name="red" rgba="1 0 0 1"/></asset>
<worldbody>
  <light name="lamp" pos="0 0 3" diffuse="0.6 0.6 0.6"/>
  <camera name="eye" pos="0 -2 0.5" xyaxes="1 0 0 0 0 1"/>
  <geom name="floor" type="plane" size="2 2 .1" friction="0.9"/>
  <body name="puck" pos="0 1 1"><freejoint name="loose"/><geom name="puck" size=".1" mass="2" material="red"/></body>
  <body name="upper" pos="0 0 1"><joint name="shoulder" axis="0 1 0" damping="0.5" armature="0.1" frictionloss="0.2"/>
    <geom name="upper" size=".05" pos="0 0 .2" mass="1"/>
    <body name="fore" pos="0 0 .4"><joint name="elbow" axis="0 1 0" damping="0.2" armature="0.05"/>
      <geom name="fore" size=".05" pos="0 0 .2" mass="0.5"/>
      <body name="hand" pos="0 0 .4"><joint name="wrist" axis="0 1 0" damping="0.1" armature="0.05"/>
        <geom size=".04" mass="0.2"/></body></body></body>
</worldbody>
<actuator><position name="shoulder" joint="shoulder" kp="20" kv="2" forcerange="-9 9"/>
  <velocity name="elbow" joint="elbow" kv="3"/><motor name="wrist" joint="wrist" gear="0.5"/></actuator>
<sensor><gyro name="gyro" site="s"/></sensor></mujoco>
""".replace('<geom size=".04"', '<site name="s"/><geom size=".04"')

ROBOT = """
name: varied
rate: 50.0
observations:
  - {name: joints, shape: [3], source: &joints {topic: joint_states, type: sensor_msgs/msg/JointState, field: position,
     names: [shoulder, elbow, wrist]}}
  - {name: speeds, shape: [3], source: {<<: *joints, field: velocity}}
  - {name: turning, shape: [3], source: &imu {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
  - {name: attitude, shape: [4], source: {<<: *imu, field: orientation}}
  - {name: puck, shape: [3], source: {topic: odom, type: nav_msgs/msg/Odometry, field: linear_velocity}}
actions:
  - {name: drive, low: [-1, -1, -1], high: [1, 1, 1], neutral: [0.25, 0, 0], command: {topic: commands}}
reward: {expression: "norm(joints)"}
episode: {max_steps: 20, reset_service: reset}
simulation:
  model: mjcf:varied.xml
  imus: {imu: {angular_velocity: gyro, orientation: hand}}
  odometry: {odom: puck}
"""


def varied(folder: Path, simulation: str = "") -> RobotSpec:
    """The robot; `simulation`: further lines of that section, without indentation."""
    (folder / "varied.xml").write_text(MODEL)
    lines = "".join(f"  {line}\n" for line in simulation.strip().splitlines())
    (folder / "varied.yaml").write_text(ROBOT + lines)
    return load_spec(folder / "varied.yaml")
