"""`netemu drops` over sockets like those of nodes' agents, which come and go."""

import asyncio
import json

import pytest

from netemu.cli import drops

HALF = b'{"time": "4", "no'


def line(time):
    return json.dumps({"time": str(time)}).encode() + b"\n"


async def agent(path, *remembered, then=b""):
    """Tells what it remembers, then more; and goes, to whom it told."""

    async def met(_reader, writer):
        writer.write(b"".join(map(line, remembered)) + b"\n" + then)
        writer.close()

    return await asyncio.start_unix_server(met, path)


def test_each_drop_is_told_once_though_the_agent_comes_and_goes(tmp_path, capsys):
    path = tmp_path / ("long" * 30) / "drops.sock"
    path.parent.mkdir()
    told = []

    async def story():
        tail = drops.Tail("worker-1", path)
        assert await tail.remembered() is None
        short = tmp_path / "s"
        short.symlink_to(path.parent)
        server = await agent(str(short / path.name), 1, 2, then=line(3) + HALF)
        assert await tail.remembered() == [{"time": "1"}, {"time": "2"}]
        server.close()
        path.unlink()
        following = asyncio.create_task(tail.follow(told.append, lambda: len(told) == 3))
        while "away" not in capsys.readouterr().err:
            await asyncio.sleep(0.01)
        server = await agent(str(short / path.name), 3, 4, then=line(5))
        await asyncio.wait_for(following, 30)
        server.close()

    asyncio.run(story())
    assert told == [{"time": "3"}, {"time": "4"}, {"time": "5"}]
    assert "worker-1 tells of its drops again" in capsys.readouterr().err


@pytest.mark.parametrize("follow", [False, True])
def test_an_agent_that_is_away_is_said_to_be(tmp_path, capsys, follow):
    drops._gather([drops.Tail("worker-1", tmp_path / "x")], lambda drop: None, follow, lambda: True)
    assert capsys.readouterr().err == "the agent of worker-1 is away: its drops are not among these\n"
