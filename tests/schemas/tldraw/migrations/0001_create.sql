-- 0001_create: schema `tldraw`, version 1. Runs in one transaction.
CREATE TABLE _migration (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT;
CREATE TABLE _space (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rev INTEGER NOT NULL, horizon INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE TABLE _client (
  space INTEGER NOT NULL, principal TEXT NOT NULL, client INTEGER NOT NULL, actor INTEGER NOT NULL, epoch INTEGER NOT NULL,
  receipt INTEGER, previous INTEGER, closed TEXT NOT NULL, PRIMARY KEY (space, principal, client)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "_client.actor" ON _client (space, actor);
CREATE TABLE _mark (
  space INTEGER NOT NULL, actor INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, applied INTEGER NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (space, actor, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE _log (
  space INTEGER NOT NULL, rev INTEGER NOT NULL, part INTEGER NOT NULL, actor INTEGER NOT NULL, seq INTEGER NOT NULL,
  hash BLOB NOT NULL, changes TEXT NOT NULL, PRIMARY KEY (space, rev, part)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "_log.key" ON _log (space, actor, seq);
CREATE TABLE _dying (
  space INTEGER NOT NULL, tbl TEXT NOT NULL, id BLOB NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (space, tbl, id)) STRICT, WITHOUT ROWID;
CREATE TABLE _deleted (
  space INTEGER NOT NULL, id BLOB NOT NULL, tbl TEXT NOT NULL, rev INTEGER NOT NULL, PRIMARY KEY (space, id, tbl)) STRICT, WITHOUT ROWID;
CREATE TABLE "binding" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "data" TEXT NOT NULL,
  "from" BLOB NOT NULL,
  "to" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "from") REFERENCES "shape" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "to") REFERENCES "shape" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_binding.from" ON "binding" (space, "from");
CREATE INDEX "_binding.to" ON "binding" (space, "to");
CREATE TABLE "shape" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "child_index" REAL NOT NULL,
  "data" TEXT NOT NULL,
  "kind" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "votes" INTEGER NOT NULL,
  "handle_end" BLOB,
  "handle_start" BLOB,
  "parent" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "handle_end") REFERENCES "binding" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "handle_start") REFERENCES "binding" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "parent") REFERENCES "shape" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_shape.handle_end" ON "shape" (space, "handle_end");
CREATE INDEX "_shape.handle_start" ON "shape" (space, "handle_start");
CREATE INDEX "_shape.parent" ON "shape" (space, "parent");
