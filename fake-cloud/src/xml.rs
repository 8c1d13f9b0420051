//! The clouds' answers as XML.

use quick_xml::escape::partial_escape;
use serde_json::{Map, Value};

/// Writes a JSON body as a document. A body with one outer key has it as its root element, any other gets `<response>`.
/// The entries of `fooList` become `<foo>` elements, as NCP writes its lists.
pub(crate) fn document(body: &Value) -> String {
    let mut text = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
    match only_entry(body) {
        Some((name, value)) => element(&mut text, name, value),
        None => element(&mut text, "response", body),
    }
    text
}

fn only_entry(body: &Value) -> Option<(&str, &Value)> {
    let fields: &Map<String, Value> = body.as_object()?;
    let (name, value) = fields.iter().next().filter(|_| fields.len() == 1)?;
    (!value.is_array()).then_some((name.as_str(), value))
}

fn element(text: &mut String, name: &str, value: &Value) {
    text.extend(["<", name, ">"]);
    match value {
        Value::Null => {}
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(words) => text.push_str(&partial_escape(words.as_str())),
        Value::Array(entries) => {
            let entry_name = name.strip_suffix("List").unwrap_or("item");
            entries.iter().for_each(|entry| element(text, entry_name, entry));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| element(text, name, value)),
    }
    text.extend(["</", name, ">"]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::document;

    #[test]
    fn writes_lists_as_ncp_does() {
        let body =
            json!({"aResponse": {"returnCode": "0", "cloudDBInstanceList": [{"isHa": true}, {"collation": "<&"}]}});
        let list = "<cloudDBInstance><isHa>true</isHa></cloudDBInstance>\
                    <cloudDBInstance><collation>&lt;&amp;</collation></cloudDBInstance>";
        let want = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><aResponse><cloudDBInstanceList>{list}</cloudDBInstanceList><returnCode>0</returnCode></aResponse>"#
        );
        assert_eq!(document(&body), want);
    }

    #[test]
    fn gives_a_bare_list_a_root() {
        let want = r#"<?xml version="1.0" encoding="UTF-8"?><response><item>7.2.11</item></response>"#;
        assert_eq!(document(&json!(["7.2.11"])), want);
    }
}
