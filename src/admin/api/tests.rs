//! The document of the API and the API itself say the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{OPENAPI, OPERATIONS};

fn document() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

/// Every reference in a document.
fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[test]
fn the_document_has_the_operations_that_there_are_and_no_others() {
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    let documented = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().expect("operations");
        operations
            .keys()
            .map(|method| (method.clone(), path.clone()))
    });
    let documented: BTreeSet<_> = documented.collect();
    let served = OPERATIONS.iter();
    let served: BTreeSet<_> = served
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, served);
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let known: BTreeSet<_> = schemas
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(
        known.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        used
    );
}
