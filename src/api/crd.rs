//! The CustomResourceDefinitions, derived from the types and finished where the derive cannot say it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;

use super::{RedisClusterRef, RedisFlushRequest, RedisParameterSync};

/// The three CRDs, in the order in which they are printed and installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [RedisClusterRef::crd(), RedisFlushRequest::crd(), RedisParameterSync::crd()].map(finish).to_vec()
}

/// Default status, `observedGeneration: -1`, so that kstatus never takes a fresh object for one that was reconciled.
fn default_status() -> JSON {
    JSON(serde_json::json!({ "observedGeneration": -1 }))
}

fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        forbid_null(root);
        let Some(properties) = root.properties.as_mut() else { continue };
        if let Some(status) = properties.get_mut("status") {
            status.default = Some(default_status());
        }
        if let Some(spec) = properties.get_mut("spec") {
            let of_kind = crd.spec.names.kind.as_str();
            spec.description = Some(format!("What is wanted of this {of_kind}."));
        }
    }
    crd
}

/// Optional fields are absent, never null: the API server then drops a null before CEL's `has()` could take it for a value.
fn forbid_null(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(forbid_null);
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => forbid_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(many)) => many.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        forbid_null(values);
    }
}
