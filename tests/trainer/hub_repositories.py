"""Repositories that the hub's own client can make, commit to and tag: the writing half of the local hub."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Repository:
    """commits: hash -> files, oldest first; tags: name -> hash."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return next(reversed(self.commits))

    def commit(self, files: dict[str, bytes]) -> str:
        text = f"{len(self.commits)}{sorted((n, hashlib.sha256(c).hexdigest()) for n, c in files.items())}"
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = files
        return sha

    def resolve(self, revision: str) -> str | None:
        commit = self.head if revision == "main" else self.tags.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass
class Repositories:
    """All of a hub, by "models/owner/name". objects: large files by SHA-256, uploaded before a commit.

    writes: so far; dead_after: of so many, the client is as good as killed; before_commit: called once.
    """

    all: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    read_only: bool = False
    knows_auth_check: bool = True
    full: bool = False
    writes: int = 0
    dead_after: int | None = None
    before_commit: Any = None

    def made(self, name: str, *, private: bool = True) -> Repository:
        """The repository "models/owner/name", made as a hub does if it is not there."""
        if name not in self.all:
            self.all[name] = Repository(private)
            self.all[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.all[name]

    def write(self, method: str, path: str, body: bytes, url: str) -> Answer:
        self.writes += 1
        if self.dead_after is not None and self.writes > self.dead_after:
            return HTTPStatus.IM_A_TEAPOT, {}, b"{}"
        if self.read_only:
            return HTTPStatus.FORBIDDEN, {"X-Error-Message": "You have read access only."}, b"{}"
        return self._write(method, path, body, url)

    def _write(self, method: str, path: str, body: bytes, url: str) -> Answer:
        if path.startswith("/lfs/"):
            return self._store(path.removeprefix("/lfs/"), body)
        if path.endswith(".git/info/lfs/objects/batch"):
            return _json({"objects": [self._upload(o, url) for o in json.loads(body)["objects"]]})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        repository, verb, rest = re.fullmatch(r"/api/(.*)/(commit|tag)/(.*)", path).groups()  # type: ignore[union-attr]
        if verb == "commit":
            return self._commit(self.all[repository], body)
        return self._tag(self.all[repository], method, rest, body)

    def ask(self, path: str, body: bytes) -> Answer | None:
        """Questions that a client asks by POST, and those about branches, tags and rights."""
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        repository, _, question = path.removeprefix("/api/").rpartition("/")
        if "/preupload/" in path:
            return _json({"files": [_upload_mode(f["path"]) for f in json.loads(body)["files"]]})
        if question == "refs" and repository in self.all:
            return _json({"branches": [], "converts": [], "tags": self._tags(self.all[repository])})
        if path.endswith("/auth-check/write") and self.knows_auth_check:
            return (HTTPStatus.FORBIDDEN, {}, b"{}") if self.read_only else _json({})
        return self._info(path)

    def _info(self, path: str) -> Answer | None:
        repository, _, revision = path.removeprefix("/api/").partition("/revision/")
        known = self.all.get(repository)
        if known is None or (commit := known.resolve(revision or "main")) is None:
            return None
        files = [{"rfilename": name} for name in known.commits[commit]]
        return _json({"id": repository, "sha": commit, "siblings": files, "private": known.private})

    def _create(self, wanted: dict[str, Any]) -> Answer:
        name = f"{wanted['organization']}/{wanted['name']}"
        if f"models/{name}" in self.all:
            return HTTPStatus.CONFLICT, {}, b"{}"
        self.made(f"models/{name}", private=wanted.get("visibility") == "private")
        return _json({"url": f"https://huggingface.co/{name}"})

    def _store(self, digest: str, content: bytes) -> Answer:
        if self.full:
            return HTTPStatus.INSUFFICIENT_STORAGE, {}, b"{}"
        self.objects[digest] = content
        return _json({})

    def _commit(self, repository: Repository, body: bytes) -> Answer:
        if (meanwhile := self.before_commit) is not None:
            self.before_commit = None
            meanwhile()
        lines = [json.loads(line) for line in body.splitlines()]
        if lines[0]["value"].get("parentCommit") not in {None, repository.head}:
            return HTTPStatus.PRECONDITION_FAILED, {}, b"{}"
        files = dict(repository.commits[repository.head])
        for line in lines[1:]:
            path = line["value"]["path"]
            match line["key"]:
                case "file":
                    files[path] = base64.b64decode(line["value"]["content"])
                case "lfsFile":
                    files[path] = self.objects[line["value"]["oid"]]
                case _:
                    del files[path]
        commit = repository.commit(files)
        return _json({"commitUrl": f"https://huggingface.co/o/n/commit/{commit}", "commitOid": commit})

    def _tag(self, repository: Repository, method: str, name: str, body: bytes) -> Answer:
        if method == "DELETE":
            del repository.tags[name]
        else:
            repository.tags[json.loads(body)["tag"]] = repository.resolve(name) or ""
        return _json({})

    def _tags(self, repository: Repository) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
            for name, commit in repository.tags.items()
        ]

    def _upload(self, wanted: dict[str, Any], url: str) -> dict[str, Any]:
        known = wanted["oid"] in self.objects
        actions = {} if known else {"actions": {"upload": {"href": f"{url}/lfs/{wanted['oid']}"}}}
        return {**wanted, **actions}


def _upload_mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False}


def _json(content: Any) -> Answer:
    return HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(content).encode()
