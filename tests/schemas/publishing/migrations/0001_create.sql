-- 0001_create: schema `publishing`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "article" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "body" TEXT NOT NULL,
  "title" TEXT NOT NULL,
  "collection" BLOB,
  "organization" BLOB,
  "user" BLOB NOT NULL,
  "comments" INTEGER NOT NULL DEFAULT 0,
  "page_views" INTEGER NOT NULL DEFAULT 0,
  "rating_votes" INTEGER NOT NULL DEFAULT 0,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "collection") REFERENCES "collection" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "organization") REFERENCES "organization" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "user") REFERENCES "user" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_article.collection" ON "article" (space, "collection");
CREATE INDEX "_article.organization" ON "article" (space, "organization");
CREATE INDEX "_article.user" ON "article" (space, "user");
CREATE TABLE "collection" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "name" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "comment" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "text" TEXT NOT NULL,
  "parent" BLOB,
  "subject_article" BLOB,
  "subject_podcast" BLOB,
  "replies" INTEGER NOT NULL DEFAULT 0,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "parent") REFERENCES "comment" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "subject_article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "subject_podcast") REFERENCES "podcast" (space, id) ON DELETE NO ACTION,
  CHECK (("subject_article" IS NOT NULL) + ("subject_podcast" IS NOT NULL) <= 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_comment.parent" ON "comment" (space, "parent");
CREATE INDEX "_comment.subject_article" ON "comment" (space, "subject_article");
CREATE INDEX "_comment.subject_podcast" ON "comment" (space, "subject_podcast");
CREATE TABLE "credit" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "amount" INTEGER NOT NULL,
  "organization" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "organization") REFERENCES "organization" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_credit.organization" ON "credit" (space, "organization");
CREATE TABLE "html_variant_trial" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "success" INTEGER NOT NULL,
  "article" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "article") REFERENCES "article" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_html_variant_trial.article" ON "html_variant_trial" (space, "article");
CREATE TABLE "mention" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "of_article" BLOB,
  "of_comment" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "of_article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "of_comment") REFERENCES "comment" (space, id) ON DELETE NO ACTION,
  CHECK (("of_article" IS NOT NULL) + ("of_comment" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_mention.of_article" ON "mention" (space, "of_article");
CREATE INDEX "_mention.of_comment" ON "mention" (space, "of_comment");
CREATE TABLE "notification" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "read" INTEGER NOT NULL,
  "about_article" BLOB,
  "about_comment" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "about_article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "about_comment") REFERENCES "comment" (space, id) ON DELETE NO ACTION,
  CHECK (("about_article" IS NOT NULL) + ("about_comment" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_notification.about_article" ON "notification" (space, "about_article");
CREATE INDEX "_notification.about_comment" ON "notification" (space, "about_comment");
CREATE TABLE "organization" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "name" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "page_view" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "seconds" INTEGER NOT NULL,
  "article" BLOB NOT NULL,
  "user" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "user") REFERENCES "user" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_page_view.article" ON "page_view" (space, "article");
CREATE INDEX "_page_view.user" ON "page_view" (space, "user");
CREATE TABLE "pin" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "of_article" BLOB,
  "of_comment" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "of_article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "of_comment") REFERENCES "comment" (space, id) ON DELETE NO ACTION,
  CHECK (("of_article" IS NOT NULL) + ("of_comment" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_pin.of_article" ON "pin" (space, "of_article");
CREATE INDEX "_pin.of_comment" ON "pin" (space, "of_comment");
CREATE TABLE "podcast" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "title" TEXT NOT NULL,
  "comments" INTEGER NOT NULL DEFAULT 0,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "poll" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "question" TEXT NOT NULL,
  "article" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "article") REFERENCES "article" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_poll.article" ON "poll" (space, "article");
CREATE TABLE "poll_option" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "text" TEXT NOT NULL,
  "poll" BLOB NOT NULL,
  "votes" INTEGER NOT NULL DEFAULT 0,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "poll") REFERENCES "poll" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_poll_option.poll" ON "poll_option" (space, "poll");
CREATE TABLE "poll_skip" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "poll" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "poll") REFERENCES "poll" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_poll_skip.poll" ON "poll_skip" (space, "poll");
CREATE TABLE "poll_vote" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "option" BLOB NOT NULL,
  "poll" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "option") REFERENCES "poll_option" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "poll") REFERENCES "poll" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_poll_vote.option" ON "poll_vote" (space, "option");
CREATE INDEX "_poll_vote.poll" ON "poll_vote" (space, "poll");
CREATE TABLE "rating_vote" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "article" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "article") REFERENCES "article" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_rating_vote.article" ON "rating_vote" (space, "article");
CREATE TABLE "reaction" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "kind" TEXT NOT NULL,
  "to_article" BLOB,
  "to_comment" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "to_article") REFERENCES "article" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "to_comment") REFERENCES "comment" (space, id) ON DELETE NO ACTION,
  CHECK (("to_article" IS NOT NULL) + ("to_comment" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_reaction.to_article" ON "reaction" (space, "to_article");
CREATE INDEX "_reaction.to_comment" ON "reaction" (space, "to_comment");
CREATE TABLE "tag_adjustment" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "article" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "article") REFERENCES "article" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_tag_adjustment.article" ON "tag_adjustment" (space, "article");
CREATE TABLE "user" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "name" TEXT NOT NULL,
  "page_views" INTEGER NOT NULL DEFAULT 0,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
