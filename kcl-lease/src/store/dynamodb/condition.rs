//! Conditions on rows that are not leases, built from terms.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

/// What may be asked of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// It is absent.
    Absent(&'static str),
    /// It is there, whatever it is.
    Present(&'static str),
    /// It has this value.
    Equal(&'static str, AttributeValue),
    /// It is a number that is no greater than this one.
    AtMost(&'static str, AttributeValue),
}

/// A condition expression with its placeholders. Without clauses it always holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Condition {
    clauses: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Condition {
    /// Also, one of these must hold.
    pub(super) fn any_of(&mut self, terms: &[Term]) {
        let terms: Vec<_> = terms.iter().map(|term| self.term(term)).collect();
        self.clauses.push(format!("({})", terms.join(" OR ")));
    }

    fn term(&mut self, term: &Term) -> String {
        match term {
            Term::Absent(attribute) => format!("attribute_not_exists({})", self.name(attribute)),
            Term::Present(attribute) => format!("attribute_exists({})", self.name(attribute)),
            Term::Equal(attribute, value) => {
                format!("{} = {}", self.name(attribute), self.value(attribute, value))
            }
            Term::AtMost(attribute, value) => {
                format!("{} <= {}", self.name(attribute), self.value(attribute, value))
            }
        }
    }

    fn value(&mut self, attribute: &str, value: &AttributeValue) -> String {
        let placeholder = format!(":{attribute}");
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn expression(&self) -> Option<String> {
        (!self.clauses.is_empty()).then(|| self.clauses.join(" AND "))
    }

    pub(super) fn on_put(self, put: PutItemFluentBuilder) -> PutItemFluentBuilder {
        put.set_condition_expression(self.expression())
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
    }

    pub(super) fn on_delete(self, delete: DeleteItemFluentBuilder) -> DeleteItemFluentBuilder {
        delete
            .set_condition_expression(self.expression())
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
    }
}

/// Changes of single attributes under a condition. What is not named stays.
#[derive(Debug, PartialEq)]
pub(super) struct Update {
    condition: Condition,
    sets: Vec<String>,
    removes: Vec<String>,
}

impl Condition {
    /// An update under this condition, which changes nothing yet.
    pub(super) fn into_update(self) -> Update {
        Update {
            condition: self,
            sets: Vec::new(),
            removes: Vec::new(),
        }
    }
}

impl Update {
    pub(super) fn set(&mut self, attribute: &str, value: AttributeValue) {
        let (name, placeholder) = (self.condition.name(attribute), format!(":to_{attribute}"));
        self.sets.push(format!("{name} = {placeholder}"));
        self.condition.values.insert(placeholder, value);
    }

    pub(super) fn remove(&mut self, attribute: &str) {
        let name = self.condition.name(attribute);
        self.removes.push(name);
    }

    fn expression(&self) -> String {
        let clause = |verb: &str, parts: &[String]| match parts {
            [] => None,
            parts => Some(format!("{verb} {}", parts.join(", "))),
        };
        let clauses = [clause("SET", &self.sets), clause("REMOVE", &self.removes)];
        clauses.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn on(self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let expression = self.expression();
        let Condition { names, values, .. } = &self.condition;
        update
            .update_expression(expression)
            .set_condition_expression(self.condition.expression())
            .set_expression_attribute_names(Some(names.clone()).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(values.clone()).filter(|values| !values.is_empty()))
    }
}
