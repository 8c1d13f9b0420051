use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};

use super::*;

fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    visit(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, visit);
    }
}

fn each_field(mut visit: impl FnMut(&str, &JSONSchemaProps)) {
    for crd in crds() {
        let kind = crd.spec.names.kind.clone();
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        for (name, property) in schema.properties.iter().flatten() {
            walk(&format!("{kind}.{name}"), property, &mut visit);
        }
    }
}

#[test]
fn every_field_is_described() {
    each_field(|path, schema| {
        if !path.ends_with("[]") {
            assert!(schema.description.as_ref().is_some_and(|text| !text.is_empty()), "{path} has no description");
        }
    });
}

#[test]
fn no_field_is_nullable_or_unsigned() {
    each_field(|path, schema| {
        assert_eq!(schema.nullable, None, "{path}");
        assert!(!schema.format.as_deref().unwrap_or_default().starts_with("uint"), "{path} has an unsigned format");
    });
}

#[test]
fn strings_and_lists_of_the_spec_are_bounded() {
    each_field(|path, schema| {
        if !path.contains(".spec") {
            return;
        }
        match schema.type_.as_deref() {
            Some("string") => assert!(
                schema.max_length.is_some() || schema.enum_.is_some() || schema.format.as_deref() == Some("date-time"),
                "{path} has no maxLength"
            ),
            Some("array") => assert!(schema.max_items.is_some(), "{path} has no maxItems"),
            _ => {}
        }
    });
}

/// What somebody else put into a part of a status goes with the next apply of that part, and the API server has one name to
/// own instead of one for each field, which is a good part of what a status write costs it.
#[test]
fn parts_of_a_status_are_owned_as_a_whole() {
    let mut parts = 0;
    each_field(|path, schema| {
        let within = path.split_once(".status.").map(|(_, within)| within);
        let is_part = within.is_some_and(|within| !within.trim_end_matches("[]").contains(['.', '[']));
        if is_part && schema.type_.as_deref() == Some("object") && !path.ends_with("clusters[]") {
            assert_eq!(schema.x_kubernetes_map_type.as_deref(), Some("atomic"), "{path}");
            parts += 1;
        }
    });
    assert!(parts > 5, "{parts} were looked at");
}

#[test]
fn a_fresh_object_is_never_current() {
    for crd in crds() {
        let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
        let status = &schema.properties.unwrap()["status"];
        assert_eq!(status.default.as_ref().unwrap().0, serde_json::json!({ "observedGeneration": -1 }));
        assert_eq!(crd.spec.names.categories, Some(vec!["managedredis".to_owned()]));
    }
}

#[test]
fn requested_at_is_echoed_within_bounds() {
    let mut object = RedisClusterRef::new("a", serde_json::from_value(serde_json::json!({})).unwrap());
    assert_eq!(reconcile_requested_at(&object), None);
    object.metadata.annotations = Some([(RECONCILE_REQUESTED_AT.to_owned(), "가".repeat(200))].into());
    let echoed = reconcile_requested_at(&object).unwrap();
    assert!(echoed.len() <= 256 && echoed.len() > 250);
}
