//! Whether an answer is as the API's document says: as much of JSON Schema as that document uses.

use serde_json::Value;

/// The document of an API.
pub struct Document(pub Value);

impl Document {
    /// Fails unless `body` is what the document has for this answer.
    pub fn check(&self, method: &str, path: &str, status: u16, media: &str, body: &Value) {
        let operation = &self.0["paths"][path][method.to_lowercase()];
        let answer = &operation["responses"][status.to_string()];
        let schema = &answer["content"][media]["schema"];
        assert!(
            schema.is_object(),
            "{method} {path}: the document knows no {status} {media}; answered {body:#}"
        );
        if let Err(what) = self.conforms(body, schema, "$") {
            panic!("{method} {path}, {status}: {what}\n{body:#}");
        }
    }

    fn conforms(&self, value: &Value, schema: &Value, at: &str) -> Result<(), String> {
        if let Some(path) = schema["$ref"].as_str() {
            let target = self.0.pointer(path.trim_start_matches('#'));
            return self.conforms(value, target.expect("a reference that leads"), at);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices
                .iter()
                .filter(|it| self.conforms(value, it, at).is_ok());
            return match fitting.count() {
                1 => Ok(()),
                count => Err(format!("{at} fits {count} of the choices")),
            };
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => return Err(format!("{at}: no type in {schema}")),
        };
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.contains(&is) {
            return Err(format!("{at} is {is} and not {types:?}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{at} is {value} and none of {words:?}"));
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.conforms(item, &schema["items"], &format!("{at}[{index}]"))?;
                }
            }
            Value::Object(fields) => self.object(fields, schema, at)?,
            _ => {}
        }
        Ok(())
    }

    fn object(
        &self,
        fields: &serde_json::Map<String, Value>,
        schema: &Value,
        at: &str,
    ) -> Result<(), String> {
        for required in schema["required"].as_array().into_iter().flatten() {
            let key = required.as_str().expect("a key");
            if !fields.contains_key(key) {
                return Err(format!("{at} lacks {key}"));
            }
        }
        for (key, field) in fields {
            let known = &schema["properties"][key];
            let schema = match (known, &schema["additionalProperties"]) {
                (Value::Object(_), _) => known,
                (_, other @ Value::Object(_)) => other,
                (_, Value::Bool(false)) => return Err(format!("{at} has {key}, which is unknown")),
                _ => continue,
            };
            self.conforms(field, schema, &format!("{at}.{key}"))?;
        }
        Ok(())
    }
}
