//! Checks label selectors before the operator starts, as the API server would check them later.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/labels`: requirements with commas between them, each of `key`, `!key`,
//! `key=value`, `key==value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key>1`, `key<1`.

/// Checks a selector.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check(selector: &str) -> Result<(), String> {
    let tokens = tokens(selector);
    let mut parser = Parser { tokens: &tokens };
    loop {
        parser.requirement()?;
        match parser.next() {
            None => return Ok(()),
            Some(Token::Comma) => {}
            Some(other) => return Err(format!("{} where a comma was expected", other.shown())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Comma,
    Open,
    Close,
    /// One of `= == != < >` or a single `!`.
    Operator(String),
    Word(String),
}

impl Token {
    fn shown(&self) -> String {
        let text = match self {
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Operator(text) | Self::Word(text) => text,
        };
        format!("{text:?} stands")
    }
}

fn is_symbol(letter: char) -> bool {
    matches!(letter, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '=' | '!' if rest[1..].starts_with('=') => 2,
            _ if is_symbol(first) => 1,
            _ => rest.find(|letter| is_symbol(letter) || is_blank(letter)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        found.push(match token {
            "," => Token::Comma,
            "(" => Token::Open,
            ")" => Token::Close,
            _ if is_symbol(first) => Token::Operator(token.to_owned()),
            _ => Token::Word(token.to_owned()),
        });
        rest = after.trim_start_matches(is_blank);
    }
    found
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.first()
    }

    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn requirement(&mut self) -> Result<(), String> {
        if self.peek() == Some(&Token::Operator("!".to_owned())) {
            self.next();
            return self.key().map(drop);
        }
        let key = self.key()?;
        match self.peek() {
            None | Some(Token::Comma) => Ok(()),
            Some(Token::Operator(operator)) if operator != "!" => {
                self.next();
                self.value(key, operator)
            }
            Some(Token::Word(word)) if word == "in" || word == "notin" => {
                self.next();
                self.values(key, word)
            }
            Some(other) => Err(format!("{} where an operator was expected, after {key:?}", other.shown())),
        }
    }

    fn key(&mut self) -> Result<&'a str, String> {
        match self.next() {
            Some(Token::Word(word)) => check_key(word).map(|()| word.as_str()),
            Some(other) => Err(format!("{} where a label's key was expected", other.shown())),
            None => Err("it ends where a label's key was expected".to_owned()),
        }
    }

    /// After `=`, `==`, `!=`, `<` or `>`. The first three also take an empty value.
    fn value(&mut self, key: &str, operator: &str) -> Result<(), String> {
        let value = match self.peek() {
            Some(Token::Word(word)) => {
                self.next();
                word.as_str()
            }
            _ => "",
        };
        if matches!(operator, "<" | ">") {
            return match value.parse::<i64>() {
                Ok(_) => check_value(value),
                Err(_) => Err(format!("{operator} compares {key:?} with {value:?}, which is no whole number")),
            };
        }
        check_value(value)
    }

    /// After `in` or `notin`.
    fn values(&mut self, key: &str, operator: &str) -> Result<(), String> {
        if self.next() != Some(&Token::Open) {
            return Err(format!("{key:?} {operator} needs its values in brackets, such as {key} {operator} (a,b)"));
        }
        let mut is_after_word = false;
        loop {
            match self.next() {
                Some(Token::Word(word)) if !is_after_word => {
                    check_value(word)?;
                    is_after_word = true;
                }
                Some(Token::Comma) => is_after_word = false,
                Some(Token::Close) => return Ok(()),
                Some(other) => return Err(format!("{} among the values of {key:?}", other.shown())),
                None => return Err(format!("the bracket of {key:?} {operator} is not closed")),
            }
        }
    }
}

/// `name`, or `prefix/name` with a DNS name as the prefix.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let label = |part: &str| {
        let letters = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
        !part.is_empty() && part.bytes().all(letters) && !part.starts_with('-') && !part.ends_with('-')
    };
    if prefix.is_some_and(|prefix| prefix.len() > 253 || !prefix.split('.').all(label)) {
        return Err(format!("{key:?} is no label's key: before the / stands a DNS name"));
    }
    if name.is_empty() || !is_name(name) {
        return Err(format!("{key:?} is no label's key: up to 63 letters, digits, '-', '_' or '.'"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(format!("{value:?} is no label's value: up to 63 letters, digits, '-', '_' or '.'"))
}

/// Letters and digits, with `-`, `_` and `.` in between.
fn is_name(text: &str) -> bool {
    let at_the_edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    text.len() <= 63
        && at_the_edge(text.chars().next())
        && at_the_edge(text.chars().next_back())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (selector, wrong) in [
            ("team in shop", "\"team\" in needs its values in brackets, such as team in (a,b)"),
            ("team=a b", "\"b\" stands where a comma was expected"),
            ("team in (a", "the bracket of \"team\" in is not closed"),
            ("a,", "it ends where a label's key was expected"),
            ("=a", "\"=\" stands where a label's key was expected"),
            ("-a", "\"-a\" is no label's key: up to 63 letters, digits, '-', '_' or '.'"),
            ("A.b/c", "\"A.b/c\" is no label's key: before the / stands a DNS name"),
            ("size>big", "> compares \"size\" with \"big\", which is no whole number"),
        ] {
            assert_eq!(check(selector), Err(wrong.to_owned()), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(selector in "[a-z!=<>(), é/.-]{0,24}") {
            let _ = check(&selector);
        }

        #[test]
        fn what_is_well_formed_is_accepted(key in "[a-z][a-z0-9]{0,5}(/[a-zA-Z0-9]{1,9})?", value in "[a-zA-Z0-9]{0,9}") {
            for selector in [
                format!("{key}={value}"), format!("{key} != {value} , !{key}"), format!("{key} in ({value}, b)"), key.clone(),
                format!("{key}>7"),
            ] {
                prop_assert_eq!(check(&selector), Ok(()), "{}", selector);
            }
        }
    }
}
