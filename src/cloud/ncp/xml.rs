//! XML answers as the JSON they would have been. The gateway and older errors send XML even when JSON was asked for.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Deepest nesting that is read; the API's own answers have seven levels.
const MAX_DEPTH: usize = 32;
/// Most elements that are read: a page of a hundred instances with all their settings has some 30,000. Each takes about a hundred
/// bytes for a moment.
const MAX_ELEMENTS: usize = 50_000;
/// Elements whose text is an integer.
const INTEGERS: [&str; 7] = [
    "totalRows",
    "cpuCount",
    "memorySize",
    "cloudDBPort",
    "backupFileRetentionPeriod",
    "dataStorageSize",
    "usedDataStorageSize",
];
/// Elements whose text is `true` or `false`.
const BOOLEANS: [&str; 4] = ["isHa", "isCloudDBConfigNeedReboot", "isCloudDBNeedReboot", "isDefault"];

/// An element that is not closed yet.
struct OpenElement {
    name: String,
    text: String,
    children: Vec<(String, Value)>,
}

/// The document as `{"root": …}`: an element with children is an object, one named `…List` an array of its children,
/// an empty one null, and text is text, or an integer or boolean where the API has one. Attributes are ignored. What an object
/// has twice is a list of both there, which no field can be read as: so it costs that field's entry and not the document.
///
/// # Errors
/// A sentence, for anything that is not well-formed, nests too deeply, is too much or uses entities of its own.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<OpenElement> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        match reader.read_event().map_err(|error| format!("the XML is broken: {error}"))? {
            Event::Start(start) => push(&mut open, &start, &mut elements)?,
            Event::Empty(start) => {
                push(&mut open, &start, &mut elements)?;
                close(&mut open, &mut root)?;
            }
            Event::End(_) => close(&mut open, &mut root)?,
            Event::Text(text) => append(&mut open, &text.xml10_content())?,
            Event::CData(data) => append(&mut open, &data.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| format!("the XML is broken: {error}"))?;
                match character {
                    Some(character) => append(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    None => append(&mut open, predefined(&reference)?)?,
                }
            }
            Event::DocType(_) => return Err("the XML has a document type, which no answer has".to_owned()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match root {
        Some((name, value)) if open.is_empty() => Ok(Value::Object(Map::from_iter([(name, value)]))),
        _ => Err("the XML ends too early".to_owned()),
    }
}

fn predefined(name: &str) -> Result<&'static str, String> {
    resolve_predefined_entity(name).ok_or_else(|| "the XML uses an entity that is not predefined".to_owned())
}

fn push(open: &mut Vec<OpenElement>, start: &BytesStart<'_>, elements: &mut usize) -> Result<(), String> {
    *elements += 1;
    if *elements > MAX_ELEMENTS {
        return Err(format!("the XML has more than {MAX_ELEMENTS} elements"));
    }
    if open.len() >= MAX_DEPTH {
        return Err(format!("the XML nests more than {MAX_DEPTH} levels"));
    }
    let name = start.local_name().into_inner().to_owned();
    open.push(OpenElement { name, text: String::new(), children: Vec::new() });
    Ok(())
}

fn append(open: &mut [OpenElement], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("the XML has text outside of its root".to_owned()),
    }
    Ok(())
}

fn close(open: &mut Vec<OpenElement>, root: &mut Option<(String, Value)>) -> Result<(), String> {
    let Some(element) = open.pop() else { return Err("the XML closes what was not opened".to_owned()) };
    let name = element.name.clone();
    let value = element.into_value();
    match open.last_mut() {
        Some(parent) => parent.children.push((name, value)),
        None if root.is_none() => *root = Some((name, value)),
        None => return Err("the XML has two roots".to_owned()),
    }
    Ok(())
}

impl OpenElement {
    fn into_value(self) -> Value {
        if self.name.ends_with("List") {
            return Value::Array(self.children.into_iter().map(|(_, value)| value).collect());
        }
        if self.children.is_empty() {
            return scalar(&self.name, self.text.trim());
        }
        let mut object = Map::new();
        for (name, value) in self.children {
            let value = match object.remove(&name) {
                None => value,
                Some(before) => Value::Array(vec![before, value]),
            };
            object.insert(name, value);
        }
        Value::Object(object)
    }
}

/// A value that does not parse as its type stays text, so that reading it fails with the name of its field.
fn scalar(name: &str, text: &str) -> Value {
    let typed = match text {
        "" => Some(Value::Null),
        _ if INTEGERS.contains(&name) => text.parse::<i64>().ok().map(Value::from),
        _ if BOOLEANS.contains(&name) => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    typed.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_becomes_the_json_it_would_have_been() {
        let document = r#"<?xml version="1.0" encoding="UTF-8"?>
            <getCloudDBInstanceListResponse xmlns="urn:x"><!-- c --><returnCode>0</returnCode><returnMessage/>
              <totalRows>1</totalRows>
              <cloudDBInstanceList><cloudDBInstance><cloudDBInstanceNo>771</cloudDBInstanceNo><isHa>true</isHa>
                <cloudDBServiceName>a&amp;b &#x26; <![CDATA[<c>]]></cloudDBServiceName>
                <memorySize>3221225472</memorySize><cloudDBPort>many</cloudDBPort><cloudDBConfigList/>
              </cloudDBInstance></cloudDBInstanceList></getCloudDBInstanceListResponse>"#;
        assert_eq!(
            parse(document).unwrap(),
            json!({"getCloudDBInstanceListResponse": {
                "returnCode": "0", "returnMessage": null, "totalRows": 1,
                "cloudDBInstanceList": [{
                    "cloudDBInstanceNo": "771", "isHa": true, "cloudDBServiceName": "a&b & <c>",
                    "memorySize": 3_221_225_472_i64, "cloudDBPort": "many", "cloudDBConfigList": [],
                }],
            }})
        );
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100_000);
        for (document, fragment) in [
            (deep.as_str(), "nests more than"),
            ("<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>", "document type"),
            ("<x>&a;</x>", "not predefined"),
            ("<x><y></x>", "broken"),
            ("<x>", "too early"),
            ("", "too early"),
            ("text", "outside"),
            ("<x/><y/>", "two roots"),
            (&format!("<x>{}</x>", "<a/>".repeat(MAX_ELEMENTS)), "more than 50000 elements"),
        ] {
            let error = parse(document).unwrap_err();
            assert!(error.contains(fragment), "{fragment}: {error}");
        }
    }

    #[test]
    fn what_is_there_twice_is_a_list_of_both() {
        assert_eq!(parse("<x><y>1</y><z/><y>2</y></x>").unwrap(), json!({"x": {"y": ["1", "2"], "z": null}}));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[<>/a&;#x! \\-\\[\\]\"=?]{0,80}") {
            let _ = parse(&text);
        }
    }
}
