//! Reading of untrusted JSON, one field at a time.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

const NAMES: usize = 50;
const ROWS: usize = 200;
pub(super) const TEXT: usize = 200;
const DEVICES: usize = 128;

/// Reads fields of a JSON object one by one and remembers which were of a wrong kind.
pub(super) struct Fields<'a> {
    pub(super) object: &'a Map<String, Value>,
    pub(super) refused: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn get<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        match self.object.get(name) {
            None | Some(Value::Null) => T::default(),
            Some(value) => T::deserialize(value).unwrap_or_else(|_| {
                self.refuse(name);
                T::default()
            }),
        }
    }

    /// A count or size; a negative one or a fraction is not one.
    pub(super) fn bytes(&mut self, name: &'static str) -> u64 {
        self.get(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> String {
        cut(self.get::<String>(name))
    }

    fn list(&mut self, name: &'static str) -> &'a [Value] {
        match self.object.get(name) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.refuse(name);
                &[]
            }
        }
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Vec<String> {
        let list = self.list(name);
        list.iter()
            .filter_map(Value::as_str)
            .take(NAMES)
            .map(|text| cut(text.to_owned()))
            .collect()
    }

    pub(super) fn rows<T>(&mut self, name: &'static str, read: fn(&mut Fields) -> T) -> Vec<T> {
        let mut rows = Vec::new();
        for value in self.list(name).iter().take(ROWS) {
            let Value::Object(object) = value else {
                self.refuse(name);
                continue;
            };
            let mut fields = Fields {
                object,
                refused: Vec::new(),
            };
            rows.push(read(&mut fields));
            if !fields.refused.is_empty() {
                self.refuse(name);
            }
        }
        rows
    }

    pub(super) fn frameworks(
        &mut self,
        name: &'static str,
    ) -> BTreeMap<String, BTreeMap<u32, meter::FrameworkMemory>> {
        let mut found: BTreeMap<String, BTreeMap<u32, meter::FrameworkMemory>> = self.get(name);
        found.retain(|framework, _| framework.len() <= TEXT);
        while found.values().map(BTreeMap::len).sum::<usize>() > DEVICES || found.len() > DEVICES {
            self.refuse(name);
            found.pop_last();
        }
        found
    }

    pub(super) fn on_devices(&mut self, name: &'static str) -> BTreeMap<u32, u64> {
        let mut found: BTreeMap<u32, u64> = self.get(name);
        while found.len() > DEVICES {
            found.pop_last();
        }
        found
    }

    fn refuse(&mut self, name: &'static str) {
        if !self.refused.contains(&name) {
            self.refused.push(name);
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT {
        let end = text.floor_char_boundary(TEXT);
        text.truncate(end);
        text.push('…');
    }
    text
}
