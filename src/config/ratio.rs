//! Ratios as people write them: `20%`. A bare number is refused: 0.2 and 20 look too much alike.

use super::complaint::{Code, quoted};
use super::reading::Value;

/// A ratio from 0 to less than 1.
pub fn ratio(value: &Value) -> Option<f64> {
    match share(value)? {
        whole if whole >= 1.0 => {
            let text = value.scalar().unwrap_or_default();
            value.refuse(Code::Range, format_args!("{} would leave nothing", quoted(text)), "choose less than 100%")
        }
        part => Some(part),
    }
}

/// A share from 0 to 1.
pub fn share(value: &Value) -> Option<f64> {
    let Some(text) = value.scalar() else { return value.wrong_type("a ratio", "write it as in `10%`") };
    let Some(number) = text.strip_suffix('%') else {
        let meant = match text.parse::<f64>() {
            Ok(n) if (0.0..1.0).contains(&n) => format!("; did you mean `{}%`?", n * 100.0),
            Ok(n) if (1.0..100.0).contains(&n) => format!("; did you mean `{n}%`?"),
            _ => String::new(),
        };
        return value.refuse(Code::Quantity, format_args!("{} has no `%`{meant}", quoted(text)), "write it as in `10%`");
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(n) if digits && n <= 100.0 => Some(n / 100.0),
        Ok(_) if digits => value.refuse(Code::Range, format_args!("{} is more than there is", quoted(text)), "choose 100% at the most"),
        _ => value.refuse(Code::Quantity, format_args!("{} is no ratio", quoted(text)), "write it as in `10%`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};

    #[test]
    fn ratios_as_people_write_them() {
        for (text, ratio) in [("10%", 0.1), ("0%", 0.0), ("2.5%", 0.025)] {
            assert!((config(&format!("cache: {{ expire_early: {text} }}\n")).cache.expire_early - ratio).abs() < 1e-9, "{text}");
        }
        for bad in ["10", "0.1", "100%", "-1%", "NaN%", "inf%", "%", "ten"] {
            let codes = refused(&format!("cache: {{ expire_early: {bad} }}\n"));
            assert!(matches!(codes[..], [Code::Quantity | Code::Range]) || bad == "%" && codes == [Code::Syntax], "{bad}: {codes:?}");
        }
    }
}
