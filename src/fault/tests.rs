use super::*;

#[test]
fn the_list_of_codes_is_the_table_in_its_order() {
    let codes: Vec<_> = samples(Why::default()).iter().map(Fault::code).collect();
    assert_eq!(codes, Fault::CODES);
}

#[test]
fn a_refused_gateway_never_looks_like_a_refused_caller() {
    for fault in samples(Why::new("x")) {
        let row = fault.row();
        assert_eq!(fault.challenge().is_some(), row.status == 401 || fault.code() == "insufficient_scope", "{}", row.code);
    }
    assert_eq!(Fault::Misconfigured(Why::default().into()).row().status, 500);
}

#[test]
fn what_the_issuer_said_is_cut_and_cleaned() {
    let why = Why::new("c").words(&format!("a\u{1b}[31m{}", "x".repeat(1000)));
    let words = why.issuer_words.unwrap();
    assert_eq!(words.chars().count(), Why::WORDS);
    assert!(!words.contains('\u{1b}'));
}

#[test]
fn a_challenge_cannot_be_broken_out_of() {
    let f = Fault::InteractionRequired { claims: Some("a\"b\\c\r\nd".into()), why: Why::default().into() };
    assert_eq!(f.challenge().unwrap(), r#"Bearer realm="cambist", error="insufficient_claims", claims="a\"b\\cd""#);
}
