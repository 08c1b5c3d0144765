"""What `robot-dreamer data` does: list, export, import."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robot_dreamer.commands.data_table import boots_table, episodes_table
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.identity import boot_of, require_made_alike
from robot_dreamer.data.lerobot.layout import is_dataset
from robot_dreamer.data.salvage import salvage
from robot_dreamer.data.select import selected
from robot_dreamer.data.source import copy_marks, discarded_in, open_store, rows_of, size_of, store_path, store_rows
from robot_dreamer.data.survey import Survey
from robot_dreamer.link.keys import require_robot_id
from robot_dreamer.link.reader import StoreReader
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.record import StepRecord
from robot_dreamer.report.console import plain_console
from robot_dreamer.spec import RobotSpec, load_spec, require_same_spec
from robot_dreamer.spec.contract import tuned


def show(args: argparse.Namespace) -> int:
    """Print what a store holds."""
    store = open_store(args.store)
    try:
        survey = _survey(store, "reading")
        console = _console()
        megabytes = size_of(store.path) / 1e6
        console.print(f"{store.path}: robot {store.spec.name}, spec {store.spec.hash[:12]}, {megabytes:.1f} MB")
        console.print(boots_table(survey))
        if args.episodes:
            console.print(episodes_table(survey))
        _report(console, survey)
    finally:
        store.close()
    return 0


def save(args: argparse.Namespace) -> int:
    """Save what is whole of a damaged store; returns 1 if something was lost."""
    found = salvage(store_path(args.store), args.output)
    lost = (
        f"{found.blocks} damaged blocks lost (rows that they named: {found.lost})" if found.blocks else "nothing lost"
    )
    _console().print(f"{args.output}: {found.rows} rows saved, {lost}", soft_wrap=True)
    if found.marks_lost:
        _console().print("which episodes must not be learned from is lost: say it again", soft_wrap=True)
    return 1 if found.blocks or found.marks_lost else 0


def export(args: argparse.Namespace) -> int:
    """Write a store into a bag."""
    form = args.format or {".mcap": "mcap", ".rrd": "rerun"}.get(args.output.suffix, "rosbag2")
    store = open_store(args.store)
    try:
        survey = _survey(store, "looking")
        chosen = selected(survey, args.robot, args.episodes, args.discarded)
        rows = (row for row in rows_of(store, args.discarded) if (row.robot, row.boot, row.episode) in chosen)
        several = len({robot for robot, _, _ in chosen}) > 1
        with _progress("writing", sum(chosen.values())) as advance:
            counts = _write(form, rows, store.spec, args, several, advance)
    finally:
        store.close()
    console = _console()
    console.print(f"{args.output}: {sum(chosen.values())} rows in {len(chosen)} episodes; entries by name:")
    for topic, count in counts.items():
        console.print(f"  {topic}: {count}", highlight=False, markup=False)
    return 0


def _write(
    form: str,
    rows: Iterable[StepRecord],
    spec: RobotSpec,
    args: argparse.Namespace,
    several: bool,
    advance: Callable[[], None],
) -> Mapping[str, int | str]:
    """In one of the formats, whose packages are imported only if it is asked for."""
    output: Path = args.output
    if args.video and form != "lerobot":
        raise DataError("--video is for --format lerobot only")
    if form == "lerobot":
        from robot_dreamer.data.lerobot.export import export_lerobot

        return export_lerobot(rows, spec, output, video=args.video, progress=advance)
    if form == "rerun":
        from robot_dreamer.data.rerun_export import export_rerun

        return export_rerun(rows, spec, output, progress=advance)
    from robot_dreamer.data.export import export_rows

    return export_rows(
        rows, spec, output, "mcap" if form == "mcap" else "rosbag2", namespaces=several, progress=advance
    )


def load(args: argparse.Namespace) -> int:
    """Read a bag, or another store, into a store."""
    from robot_dreamer.data.restore import archived_spec, count_rows, restore_rows

    if store_path(args.bag).is_file():
        _refuse(args, "is a store, with names of its own", "robot", "namespace", "map")
        return _import_store(args)
    if is_dataset(args.bag):
        return _import_dataset(args)
    _refuse(args, "is no LeRobotDataset", "map")
    theirs = archived_spec(args.bag)
    if theirs is None:
        return _import_recording(args)
    _refuse(args, "is an export of robot-dreamer and has its own names", "robot", "namespace")
    spec = _agreed(args.spec, theirs, f"bag {args.bag}")
    survey = Survey(spec)
    with _store(args.store, spec) as store, _progress("importing", count_rows(args.bag)) as advance:
        result = restore_rows(args.bag, store, survey, advance)
    return _outcome(store_path(args.store), survey, result)


def _refuse(args: argparse.Namespace, why: str, *options: str) -> None:
    """Raise DataError if one of the options is given, which this kind of source has no use for."""
    idle: dict[str, object] = {"robot": None, "namespace": "/", "map": []}
    if given := [f"--{option}" for option in options if getattr(args, option) != idle[option]]:
        raise DataError(f"{args.bag} {why}: leave out {', '.join(given)}")


def _import_store(args: argparse.Namespace) -> int:
    source = open_store(args.bag)
    try:
        spec = _agreed(args.spec, source.spec, f"store {source.path}")
        survey = Survey(spec)
        with _store(args.store, spec) as store, _progress("importing", source.count()) as advance:
            result = store_rows(_advancing(rows_of(source), advance), store, survey)
            copy_marks(source.marks(), store)
    finally:
        source.close()
    return _outcome(store_path(args.store), survey, result)


def _import_dataset(args: argparse.Namespace) -> int:
    from robot_dreamer.data.lerobot.mapping import routes
    from robot_dreamer.data.lerobot.reader import Dataset
    from robot_dreamer.data.lerobot.restore import restored_rows
    from robot_dreamer.data.lerobot.stranger import StrangerRows

    dataset = Dataset(args.bag)
    head = dataset.head()
    _refuse(args, "is a LeRobotDataset, which has no topics", "namespace")
    if head is not None:
        _refuse(args, "is an export of robot-dreamer and has its own names", "robot", "map")
        spec = _agreed(args.spec, head.spec, f"dataset {args.bag}")
        survey = Survey(spec)
        with _store(args.store, spec) as store, _progress("importing", dataset.info.total_frames) as advance:
            result = store_rows(restored_rows(dataset, spec, advance), store, survey)
        return _outcome(store_path(args.store), survey, result)
    if args.spec is None:
        raise DataError(f"{args.bag} is no export of robot-dreamer; say what its features mean: --spec ROBOT.yaml")
    spec = load_spec(args.spec)
    robot = args.robot or spec.name
    require_robot_id(robot)
    found, notes = routes(dataset, spec, args.map)
    source, survey = StrangerRows(dataset, spec, found, robot), Survey(spec)
    with _store(args.store, spec) as store, _progress("importing", dataset.info.total_frames) as advance:
        require_made_alike(store, robot, source.boot)
        result = store_rows(source.rows(advance), store, survey)
    for note in [*notes, *source.notes()]:
        print(f"note: {note}")
    return _outcome(store_path(args.store), survey, result)


def _advancing(rows: Iterable[StepRecord], advance: Callable[[], None]) -> Iterator[StepRecord]:
    for row in rows:
        advance()
        yield row


def _agreed(given: str | None, theirs: RobotSpec, whose: str) -> RobotSpec:
    """The spec to import with: the given one if its contract is theirs, else SpecMismatch; says what is taken."""
    if given is None:
        return theirs
    spec = load_spec(given)
    for line in tuned(spec, theirs):
        print(f"taken, it merely tunes: {line}")
    require_same_spec(spec, theirs, whose)
    return spec


def _import_recording(args: argparse.Namespace) -> int:
    from robot_dreamer.data.inspect import count_messages, inspect, needed_topics, require_usable
    from robot_dreamer.data.recording import RecordingSampler, sample_recording

    if args.spec is None:
        raise DataError(f"{args.bag} is no export of robot-dreamer; say what its topics mean: --spec ROBOT.yaml")
    spec = load_spec(args.spec)
    robot = args.robot or spec.name
    require_robot_id(robot)
    total = count_messages(args.bag, needed_topics(spec, args.namespace))
    with _progress("checking", total) as advance:
        inspection = inspect(args.bag, spec, args.namespace, advance)
    require_usable(args.bag, inspection)
    boot = boot_of("bag", inspection.digest, spec)
    sampler, survey = RecordingSampler(spec, robot, boot), Survey(spec)
    with _store(args.store, spec) as store, _progress("importing", total) as advance:
        require_made_alike(store, robot, boot)
        result = store_rows(sample_recording(args.bag, sampler, inspection, advance), store, survey)
    for note in [*inspection.notes, *sampler.notes()]:
        print(f"note: {note}")
    if not survey.boots:
        raise DataError(f"{args.bag} gave no row: there was no moment with fresh sensors and a command; see the notes")
    return _outcome(store_path(args.store), survey, result)


def _survey(store: StoreReader, what: str) -> Survey:
    survey = Survey(store.spec, discarded_in(store))
    with _progress(what, store.count()) as advance:
        for row in rows_of(store, discarded=True):
            survey.add(row)
            advance()
    return survey


@contextmanager
def _store(place: Path, spec: RobotSpec) -> Iterator[ExperienceStore]:
    store = ExperienceStore(store_path(place), spec)
    try:
        yield store
    finally:
        store.close()


def _outcome(path: Path, survey: Survey, result: AddResult) -> int:
    console = _console()
    console.print(boots_table(survey))
    _report(console, survey)
    console.print(f"{path}: {result.stored} rows stored, {result.duplicates} known already", highlight=False)
    for kind, count in result.rejected.items():
        why = "they come before rows that the store has; import into a new store" if kind == "late" else "see --spec"
        console.print(f"{count} rows rejected as {kind}: {why}", highlight=False)
    return 1 if result.rejected else 0


def _report(console: Console, survey: Survey) -> None:
    for finding in survey.findings():
        console.print(f"note: {finding}", highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    console = plain_console()
    return console if console.is_terminal else plain_console(width=160)  # a table in a file or pipe keeps its columns


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr; gives the function that advances it by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
