//! What went wrong on a real publishing site, told as it happened, and ending as it should have.

use crate::check::damage;
use crate::findings::found;
use crate::large::{PUBLISHING, assert_sound, create, delete, site, until_done, view, vote};
use crate::world::{Client, World, id, verdict};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Something in every table that refers to an article, to what refers to it, and to both at once.
fn hang_on(article: u64) -> Vec<Json> {
    let at = |n: u64| article * 1_000 + n;
    let mut edits = vec![
        create("poll", at(1), json!({"article": id(article)})),
        create("poll_option", at(2), json!({"poll": id(at(1))})),
        create("poll_option", at(3), json!({"poll": id(at(1))})),
        create("poll_skip", at(4), json!({"poll": id(at(1))})),
        create("poll_vote", at(5), json!({"poll": id(at(1)), "option": id(at(2))})),
        create("poll_vote", at(6), json!({"poll": id(at(1)), "option": id(at(3))})),
        create("rating_vote", at(7), json!({"article": id(article)})),
        create("html_variant_trial", at(8), json!({"article": id(article)})),
        create("tag_adjustment", at(9), json!({"article": id(article)})),
        create("reaction", at(10), json!({"to": {"article": id(article)}})),
        create("notification", at(11), json!({"about": {"article": id(article)}})),
        create("mention", at(12), json!({"of": {"article": id(article)}})),
        create("pin", at(13), json!({"of": {"article": id(article)}})),
    ];
    for depth in 0..3 {
        let parent = if depth == 0 { Json::Null } else { json!(id(at(20 + depth - 1))) };
        edits.push(create("comment", at(20 + depth), json!({"subject": {"article": id(article)}, "parent": parent})));
        edits.push(create("reaction", at(30 + depth), json!({"to": {"comment": id(at(20 + depth))}})));
        edits.push(create("notification", at(40 + depth), json!({"about": {"comment": id(at(20 + depth))}})));
    }
    edits
}

fn rows(world: &World) -> BTreeMap<&'static str, i64> {
    let tables = [
        "article",
        "comment",
        "html_variant_trial",
        "mention",
        "notification",
        "page_view",
        "pin",
        "poll",
        "poll_option",
        "poll_skip",
        "poll_vote",
        "rating_vote",
        "reaction",
        "tag_adjustment",
        "user",
        "organization",
    ];
    tables.into_iter().map(|table| (table, world.count(&format!("SELECT count(*) FROM \"{table}\"")))).collect()
}

/// Three comments, two notifications and an update were left behind by one delete.
#[tokio::test(flavor = "multi_thread")]
async fn i4_one_delete_takes_along_what_hangs_on_an_article_at_any_depth_and_nothing_else() {
    for views in [3, 5_000] {
        let world = World::of(PUBLISHING);
        let mut alice = site(&world, 2).await;
        let outcome = alice.edit(&world, "a", json!(hang_on(20))).await;
        assert_eq!(verdict(&outcome), "applied", "{outcome}");
        view(&world, 20, 2_000_000, 3);
        let before = rows(&world);
        let outcome = alice.edit(&world, "a", json!(hang_on(10))).await;
        assert_eq!(verdict(&outcome), "applied", "{outcome}");
        view(&world, 10, 3_000_000, views);
        let outcome = alice.edit(&world, "a", json!([delete("article", 10)])).await;
        assert_eq!(verdict(&outcome), "applied", "{outcome}");
        until_done(&world);
        assert_sound(&world, None);
        assert_eq!(found(&world), [""; 0]);
        let mut after = rows(&world);
        // A trial and comments stay, by their policy, and with the comments what hangs on these.
        assert_eq!(world.count("SELECT count(*) FROM html_variant_trial WHERE article IS NULL"), 1);
        assert_eq!(world.count("SELECT count(*) FROM comment WHERE subject_article IS NULL"), 3);
        for (table, stay) in [("html_variant_trial", 1), ("comment", 3), ("reaction", 3), ("notification", 3), ("article", -1)] {
            *after.get_mut(table).unwrap() -= stay;
        }
        assert_eq!(after, before, "{views} views");
        let outcome = alice.edit(&world, "a", json!([delete("comment", 10_020)])).await;
        assert_eq!(verdict(&outcome), "applied", "the root of the talk that stayed: {outcome}");
        let talk = ["comment", "reaction", "notification"].map(|table| before[table] - rows(&world)[table]);
        assert_eq!((talk, found(&world)), ([0; 3], Vec::new()), "and with it all of it");
    }
}

/// 8,987 comments without what they belonged to were found years later.
#[tokio::test(flavor = "multi_thread")]
async fn i3_orphans_are_found_counted_and_named_and_cannot_come_about() {
    let world = World::of(PUBLISHING);
    let mut alice = site(&world, 1).await;
    let orphan = create("comment", 500, json!({"subject": {"article": id(77)}}));
    assert_eq!(verdict(&alice.edit(&world, "a", json!([orphan])).await), "refused missing_parent");
    let insert = |n: u64| {
        let (own, gone) = (world.literal(n), world.literal(77));
        format!("INSERT INTO comment (space, id, text, subject_article, _clock) VALUES (1, {own}, '', {gone}, '0.0000000000000000.0')")
    };
    let refused = world.db().batch(&insert(500)).unwrap_err();
    assert!(refused.to_string().to_uppercase().contains("FOREIGN KEY"), "{refused}");
    let planted: Vec<String> = (0..8_987).map(|n| insert(10_000 + n)).collect();
    damage(&world, &format!("BEGIN; {}; COMMIT", planted.join(";")));
    let found = found(&world);
    let orphans = format!(
        "orphans: 8987 rows of `comment` refer by `subject_article` to rows of `article` that are not there, such as {}",
        id(10_000)
    );
    assert!(found.contains(&orphans), "{found:?}");
}

/// Scores were computed anew, and the article looked up to be cached, for each vote that went with it.
#[tokio::test(flavor = "multi_thread")]
async fn i9_nothing_is_computed_for_an_article_that_goes_and_who_comes_later_needs_nothing_of_it() {
    for votes in [30, 3_000] {
        let world = World::of(PUBLISHING);
        let mut alice = site(&world, 1).await;
        vote(&world, 10, 10_000, votes);
        let mut bob = Client::new("bob", 2);
        bob.cursor = json!(world.count("SELECT rev FROM _space"));
        assert_eq!(verdict(&alice.edit(&world, "a", json!([delete("article", 10)])).await), "applied");
        until_done(&world);
        assert_eq!(rows(&world)["article"] + rows(&world)["rating_vote"], 0);
        let answer = bob.send(&world, "a", Vec::new()).await;
        let told: Vec<&Json> = answer["changes"].as_array().unwrap().iter().flat_map(|rev| rev["parts"].as_array().unwrap()).collect();
        assert_eq!(told.len(), 1, "one transaction, and no more when it is carried out: {answer}");
        let changes = told[0]["changes"].as_array().unwrap();
        assert!(changes.iter().all(|change| change["op"] != "update"), "{changes:?}");
        let root = changes.iter().find(|change| change["table"] == "article").unwrap();
        assert_eq!(root["id"], json!(id(10)), "what has happened is told in full by the log");
    }
}
