//! A small XML tree, enough for the answers of the query protocols.

use quick_xml::escape::escape;

/// An element with a name, attributes and either text or children.
#[derive(Clone, Debug, Default)]
pub struct Element {
    name: String,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Returns an empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Returns the content of a result: an element whose own name is not shown.
    pub fn result() -> Self {
        Self::default()
    }

    /// Returns an element with text only.
    pub fn of_text(name: impl Into<String>, text: impl ToString) -> Self {
        Self { name: name.into(), text: text.to_string(), ..Self::default() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Adds a child that has text only.
    #[must_use]
    pub fn text(self, name: &str, text: impl ToString) -> Self {
        self.child(Self::of_text(name, text))
    }

    /// Adds a child that has text only, if there is one.
    #[must_use]
    pub fn optional(self, name: &str, text: Option<impl ToString>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// Adds a child.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// Adds a list: an element `name` with the given children, whatever their names (`member`, `item`).
    #[must_use]
    pub fn list(self, name: &str, elements: impl IntoIterator<Item = Element>) -> Self {
        self.child(Self { name: name.into(), children: elements.into_iter().collect(), ..Self::default() })
    }

    /// Adds the children of another element.
    #[must_use]
    pub fn append(mut self, other: &Element) -> Self {
        self.children.extend(other.children.iter().cloned());
        self
    }

    /// Returns the document as text.
    pub fn render(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", escape(value.as_str())));
        }
        out.push('>');
        out.push_str(&escape(self.text.as_str()));
        for child in &self.children {
            child.write(out);
        }
        out.push_str(&format!("</{}>", self.name));
    }
}
