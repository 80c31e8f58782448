-- 0001_create: schema `tree`, version 1. Runs in one transaction.
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
CREATE TABLE "branch" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "name" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "leaf" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "name" TEXT NOT NULL,
  "twig" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "twig") REFERENCES "twig" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_leaf.twig" ON "leaf" (space, "twig");
CREATE TABLE "twig" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "count" INTEGER NOT NULL,
  "name" TEXT NOT NULL,
  "branch" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "branch") REFERENCES "branch" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_twig.branch" ON "twig" (space, "branch");
