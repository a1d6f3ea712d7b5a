"""What the scripted model says: one script per scenario, and how a marker in a prompt picks it.

A script is a list of steps, one per answer of the model; a step is a list of parts, streamed in order. The one thing to
believe: nothing here remembers anything. Which step comes next follows from the conversation that the agent sends along,
so one server answers any number of agents and sessions at once, and an agent that is restarted goes on where it was.

A prompt names its scenario by a marker, with parameters where the scenario has some:

    [[hello]]                     one short text
    [[slow chunks=80 delay_ms=250]]  text in `chunks` pieces, one each `delay_ms`
    [[gated chunks=20 gate=a]]    text in `chunks` pieces, each released by `POST /control/release?gate=a&n=1`
    [[think]]                     reasoning, then text
    [[bash]] [[write]]            one tool call, then text
    [[multi]]                     a plan, two commands at once, a file, then text
    [[task]]                      a sub-agent, whose prompt is [[child]], then text
    [[ask]]                       a question to the user, then text
    [[gatedbash chunks=20 gate=a]]  gated text, a command, gated text again
    [[cut]]                       the stream breaks off in mid-text
    [[fail400]]                   HTTP 400
    [[flaky]]                     HTTP 503 twice, then text
"""

import re
from dataclasses import dataclass, field

MARKER = re.compile(r"\[\[([a-z0-9]+)((?: [a-z_]+=[A-Za-z0-9_.-]+)*)\]\]")

# A request without tools is the agent's own business (it wants a title for the session).
TITLE = "Scripted session"
NO_MARKER = "No [[scenario]] marker in the prompt."
FINISHED = "Nothing left in the script."


@dataclass(frozen=True)
class Text:
    """Text streamed word by word, as fast as it is read."""

    text: str
    kind: str = "content"

    def pieces(self):
        return re.findall(r"\S+\s*", self.text)


@dataclass(frozen=True)
class Paced:
    """Numbered pieces with a pause before each: `delay_s` on the clock, or a permit from the gate called `gate`."""

    chunks: int
    delay_s: float = 0.0
    gate: str | None = None
    first: int = 0

    def pieces(self):
        return [f"word{number} " for number in range(self.first, self.first + self.chunks)]


@dataclass(frozen=True)
class Tool:
    """A call of one of the agent's tools."""

    name: str
    arguments: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Refuse:
    """An HTTP error instead of a stream; `times` of them before what follows, or for ever."""

    status: int
    message: str
    times: int | None = None


@dataclass(frozen=True)
class Cut:
    """The connection closes here, without the end that the protocol asks for."""


def bash(command):
    return Tool("bash", {"command": command, "description": "scripted command"})


def write(path, content):
    return Tool("write", {"filePath": path, "content": content})


def paced(p):
    return Paced(int(p.get("chunks", 20)), gate=p.get("gate", "default"))


def paced_again(p):
    first = paced(p)
    return Paced(first.chunks, gate=first.gate, first=first.chunks)


def ask():
    options = [{"label": label, "description": f"use {label}"} for label in ("Red", "Blue")]
    return Tool("question", {"questions": [{"question": "Which colour?", "header": "Colour", "options": options}]})


def todo(*items):
    return Tool("todowrite", {"todos": [{"content": i, "status": "pending", "priority": "medium"} for i in items]})


def task(prompt):
    return Tool("task", {"description": "child work", "prompt": prompt, "subagent_type": "general"})


# scenario -> (parameters, folder the agent works in) -> steps
SCRIPTS = {
    "hello": lambda p, cwd: [[Text("Hello from the scripted model.")]],
    "slow": lambda p, cwd: [[Paced(int(p.get("chunks", 80)), delay_s=int(p.get("delay_ms", 250)) / 1000)]],
    "gated": lambda p, cwd: [[paced(p)]],
    "think": lambda p, cwd: [[Text("I should greet the user. ", "reasoning_content"), Text("Hello after thinking.")]],
    "bash": lambda p, cwd: [[Text("I will run a command."), bash("echo hi")], [Text("The command printed hi.")]],
    "write": lambda p, cwd: [[Text("I will write a file."), write(f"{cwd}/notes.txt", "hello\n")], [Text("Wrote it.")]],
    "multi": lambda p, cwd: [
        [Text("Planning."), todo("run two commands", "write a file")],
        [bash("echo one"), bash("echo two")],
        [write(f"{cwd}/multi.txt", "1\n2\n")],
        [Text("All steps finished.")],
    ],
    "task": lambda p, cwd: [[Text("Delegating."), task("[[child]] run a small command")], [Text("The child is done.")]],
    "child": lambda p, cwd: [[Text("Child at work."), bash("echo child")], [Text("Child result.")]],
    "ask": lambda p, cwd: [[Text("I need your choice."), ask()], [Text("Thanks for choosing.")]],
    "gatedbash": lambda p, cwd: [[paced(p), bash("echo between")], [paced_again(p)]],
    "cut": lambda p, cwd: [[Text("This stream breaks off"), Cut()]],
    "fail400": lambda p, cwd: [[Refuse(400, "scripted bad request")]],
    "flaky": lambda p, cwd: [[Refuse(503, "scripted flake", times=2), Text("Recovered after two failures.")]],
}


def text_of(content):
    """The text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content or [] if block.get("type") == "text")


def locate(messages):
    """Finds the newest marker of the user and how often the model has answered since: (name, parameters, step)."""
    name, parameters, step, before = None, {}, 0, None
    for message in messages:
        role = message.get("role")
        if role == "user" and (found := MARKER.findall(text_of(message.get("content")))):
            name, step = found[-1][0], 0
            parameters = dict(pair.split("=", 1) for pair in found[-1][1].split())
        elif role == "assistant" and before != "assistant":
            step += 1
        before = role
    return name, parameters, step


def working_folder(messages, otherwise):
    """The folder that the agent says it works in, so that a script can name files in it."""
    for message in messages:
        if message.get("role") == "system":
            if found := re.search(r"^\s*Working directory: (\S.*)$", text_of(message.get("content")), re.MULTILINE):
                return found[1].strip()
    return otherwise


def answer(request):
    """The parts of the next answer to a chat completion request, and the scenario's name (None: a side request)."""
    messages = request.get("messages", [])
    if not request.get("tools"):
        return None, [Text(TITLE)]
    name, parameters, step = locate(messages)
    if name not in SCRIPTS:
        return name, [Text(NO_MARKER)]
    steps = SCRIPTS[name](parameters, working_folder(messages, "."))
    return name, steps[step] if step < len(steps) else [Text(FINISHED)]
