use super::*;
use crate::inventory::memory::MemoryLimit;

/// What is known of a query, and why not more, in words.
fn known(snapshot: &Snapshot, query: &Query) -> (String, Option<ErrorKind>) {
    let observation = snapshot.observe(query, None, None);
    (word(&observation.observed), observation.problem.map(|problem| problem.kind))
}

#[test]
fn an_entry_that_cannot_be_read_keeps_its_picture_and_costs_no_other() {
    let mut snapshot = listing(vec![whole("a", "x"), whole("b", "y")]);
    let rows = || vec![unreadable(Some("a"), Some("x")), Row::Read(whole("b", "y"))];
    for second in [60, 120] {
        list_rows(&mut snapshot, second, rows());
        let odd = Some(ErrorKind::UnexpectedResponse);
        for query in [by_id("a"), by_name("x", None), by_name("x", Some("a"))] {
            assert_eq!(known(&snapshot, &query), ("found a".to_owned(), odd), "{query:?}");
            let Observed::Found(found) = observed(&snapshot, &query) else { panic!("it is listed") };
            assert_eq!(found.read_at, at(0), "as old as it is");
        }
        for (query, word) in [
            (by_id("b"), "found b"),
            (by_name("y", None), "found b"),
            (by_name("nobody", None), "absent"),
            (by_group(Some("g"), None), "members a b"),
            (by_id("z"), "not yet"),
        ] {
            assert_eq!(known(&snapshot, &query), (word.to_owned(), None), "{query:?}");
        }
    }
    list(&mut snapshot, 180, vec![whole("a", "x"), whole("b", "y")]);
    assert_eq!(known(&snapshot, &by_id("a")), ("found a".to_owned(), None), "no trace");
    let Observed::Found(found) = observed(&snapshot, &by_id("a")) else { panic!("it is listed") };
    assert_eq!(found.read_at, at(180));
}

#[test]
fn an_entry_that_was_never_read_is_not_called_absent() {
    let odd = Some(ErrorKind::UnexpectedResponse);
    for (row, query, wanted) in [
        (unreadable(Some("a"), Some("x")), by_id("a"), ("not yet", odd)),
        (unreadable(Some("a"), Some("x")), by_name("x", None), ("not yet", odd)),
        (unreadable(Some("a"), Some("x")), by_name("y", None), ("absent", None)),
        (unreadable(Some("a"), None), by_name("y", None), ("not yet", odd)),
        (unreadable(None, Some("x")), by_name("x", None), ("not yet", odd)),
        (unreadable(None, Some("x")), by_name("y", None), ("absent", None)),
        (unreadable(None, None), by_name("y", None), ("not yet", odd)),
        (unreadable(None, None), by_id("b"), ("found b", None)),
        (unreadable(None, None), by_name("z", None), ("found b", None)),
        (unreadable(None, None), by_group(Some("h"), None), ("not yet", odd)),
        (unreadable(None, None), by_group(Some("g"), None), ("members b", None)),
    ] {
        let mut snapshot = Snapshot::default();
        list_rows(&mut snapshot, 0, vec![row.clone(), Row::Read(whole("b", "z"))]);
        let wanted = (wanted.0.to_owned(), wanted.1);
        assert_eq!(known(&snapshot, &query), wanted, "{row:?} {query:?}");
    }
}

#[test]
fn a_single_read_helps_where_the_entry_of_the_list_cannot_be_read() {
    let mut snapshot = Snapshot::default();
    list_rows(&mut snapshot, 0, vec![unreadable(Some("a"), Some("x")), unreadable(None, None)]);
    assert_eq!(ids_due(&snapshot, &by_id("a"), MINUTE, None, at(1)), ["a"]);
    read(&mut snapshot, "a", at(1), Ok(Some(whole("a", "x"))));
    assert_eq!(known(&snapshot, &by_id("a")), ("found a".to_owned(), None));
    // That it does not exist is for the single read to say, whatever the list has.
    read(&mut snapshot, "a", at(2), Ok(None));
    assert_eq!(known(&snapshot, &by_id("a")), ("absent".to_owned(), None));
}

#[test]
fn an_entry_that_comes_twice_is_read_if_it_can_be_once() {
    let mut snapshot = Snapshot::default();
    list_rows(&mut snapshot, 0, vec![Row::Read(whole("a", "x")), unreadable(Some("a"), None)]);
    assert_eq!(known(&snapshot, &by_id("a")), ("found a".to_owned(), None));
}

/// A snapshot that has room for no instance beyond the first.
fn full(rows: Vec<Instance>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.interner.memory = MemoryLimit::new(1);
    list(&mut snapshot, 0, rows);
    snapshot
}

#[test]
fn what_there_is_no_room_for_is_read_by_itself() {
    let rows = || vec![whole("a", "x"), whole("b", "y"), part("c", "z")];
    let mut snapshot = full(rows());
    for (query, id) in [(by_id("b"), "b"), (by_name("y", None), "b"), (by_name("z", Some("gone")), "c")] {
        assert_eq!(known(&snapshot, &query), ("not yet".to_owned(), None), "{query:?}");
        assert_eq!(ids_due(&snapshot, &query, MINUTE, None, at(1)), [id], "{query:?}");
    }
    assert_eq!(known(&snapshot, &by_id("a")), ("found a".to_owned(), None));
    assert_eq!(known(&snapshot, &by_name("nobody", None)), ("absent".to_owned(), None));
    let mut due = ids_due(&snapshot, &by_group(Some("g"), None), MINUTE, None, at(1));
    due.sort();
    assert_eq!(due, ["b", "c"]);
    read(&mut snapshot, "b", at(1), Ok(Some(whole("b", "y"))));
    for query in [by_id("b"), by_name("y", None)] {
        assert_eq!(known(&snapshot, &query), ("found b".to_owned(), None), "{query:?}");
    }
    assert_eq!(word(&observed(&snapshot, &by_group(Some("g"), None))), "members a b");
    // What is kept stays kept, and as soon as there is room again all is.
    list(&mut snapshot, 60, rows());
    assert_eq!(ids_due(&snapshot, &by_id("b"), MINUTE, None, at(61)), ["b"], "again with each list");
    snapshot.interner.memory = MemoryLimit::new(1 << 20);
    list(&mut snapshot, 120, rows());
    assert_eq!(known(&snapshot, &by_name("z", None)), ("found c".to_owned(), None));
    assert!(ids_due(&snapshot, &by_id("b"), MINUTE, None, at(121)).is_empty());
}
