//! Conditions on rows that are not leases, built from terms.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

/// What may be asked of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// It is absent.
    Absent(&'static str),
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
