//! What a name that nothing has was probably meant to be.

/// `did you mean `x`? ` and what there is: the remedy for a name that nothing has.
pub fn did_you_mean<'a>(
    written: &str,
    what: &str,
    choices: impl IntoIterator<Item = &'a str>,
) -> String {
    let choices: Vec<&str> = choices.into_iter().collect();
    let all = match choices.as_slice() {
        [] => return format!("there are no {what}"),
        many if many.len() > CHOICES_SHOWN_MAX => {
            format!(
                "{what}: {}, and {} more",
                many[..CHOICES_SHOWN_MAX].join(", "),
                many.len() - CHOICES_SHOWN_MAX
            )
        }
        many => format!("{what}: {}", many.join(", ")),
    };
    match nearest(written, &choices) {
        Some(near) => format!("did you mean `{near}`? {}", capital(&all)),
        None => all,
    }
}

/// The choice that `written` was probably meant to be.
pub fn nearest<'a>(written: &str, choices: &[&'a str]) -> Option<&'a str> {
    let scored =
        choices.iter().map(|choice| (strsim::damerau_levenshtein(written, choice), *choice));
    let (distance, choice) = scored.min_by_key(|(distance, _)| *distance)?;
    // A third of its letters may be wrong: enough for a slip, too few for another word.
    let letters = choice.chars().count().max(written.chars().count());
    (distance <= letters / 3).then_some(choice)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// More would be a page, not a remedy.
const CHOICES_SHOWN_MAX: usize = 12;
