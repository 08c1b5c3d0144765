"""The page in a browser, and the panel of a run from another terminal."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.report.run_files import NoRun
from robot_dreamer.report.serve import ReportServer
from tests.made_up_runs import status, write_lines


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3, "training")))
    (tmp_path / "secret.txt").write_text("secret")
    with ReportServer(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def ask(
    server: ReportServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], str]:
    """(status, headers, body); the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_the_page_is_served_and_asked_for_again_while_the_run_goes_on(
    server: ReportServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.server_address[0] == "127.0.0.1"
    code, headers, text = ask(server, "/")
    assert code == 200 and "its last word was: training" in text
    assert int(headers["Refresh"]) > 0
    monkeypatch.setattr("robot_dreamer.report.serve.KEPT", 0.0)
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3, "finished")))
    code, headers, text = ask(server, "/report.html", host=f"localhost:{server.server_port}")
    assert code == 200 and "finished" in text and "its last word was" not in text
    assert "Refresh" not in headers
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "path", ["/secret.txt", "/status.json", "/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/?x", "secret.txt"]
)
def test_no_other_file_can_be_read(server: ReportServer, path: str) -> None:
    code, _, text = ask(server, path)
    assert code in (400, 404)
    assert "secret" not in text.replace(path, "")


def test_other_hosts_and_methods_are_refused(server: ReportServer) -> None:
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1.evil.example:80"):
        assert ask(server, "/", host=host)[0] == 403
    assert ask(server, "/", host="localhost")[0] == 200  # how a browser asks at port 80
    assert ask(server, "/", method="POST")[0] == 501


def test_what_is_no_run_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoRun):
        ReportServer(tmp_path)
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(1)))
    assert main(["report", str(tmp_path), "--port", "8000"]) == 2
    assert "--port: only with --serve" in capsys.readouterr().err


def test_watch_shows_a_run_that_is_over_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3)))
    write_lines(tmp_path / "episodes.jsonl", [{"env_step": 40, "return": 7.0, "policy_version": 1}])
    assert main(["watch", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown and "120 steps" in shown
    assert "waiting" not in shown
    assert main(["watch", str(tmp_path / "nowhere")]) == 2


def test_watch_follows_a_run_until_it_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3, "training")))
    codes: list[int] = []
    watching = threading.Thread(target=lambda: codes.append(main(["watch", str(tmp_path)])))
    watching.start()
    watching.join(1.2)
    assert watching.is_alive()
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(4, "stopped")))
    watching.join(30)
    assert codes == [0]
    assert "stopped" in capsys.readouterr().out


def test_a_port_that_is_none_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path), "--serve", "--port", "65536"])
    assert "argument --port: expected a whole number from 0 to 65535, found '65536'" in capsys.readouterr().err
