//! `managed-redis-operator crds`

use crate::api::crds;

/// The CRDs as one YAML stream.
fn yaml() -> Result<String, String> {
    let mut text = String::new();
    for crd in crds() {
        // Through a JSON value: keys are sorted and absent fields stay out.
        let value = serde_json::to_value(&crd).map_err(|error| error.to_string())?;
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&value).map_err(|error| error.to_string())?);
    }
    Ok(text)
}

pub(super) fn main() -> Result<(), String> {
    super::print(&yaml()?)
}
