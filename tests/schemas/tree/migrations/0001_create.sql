-- 0001_create: schema `tree`, version 1. Runs in one transaction.
-- oldest_server: 1
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
