//! Surrogate keys as upstream's warehouse makes them: the MD5 of fields joined by `-`, in lower-case hexadecimal.

use headway_operators::view::text::Text;

/// The key of `fields`.
pub(super) fn surrogate(fields: &[&str]) -> Text {
    Text::from(format!("{:x}", md5::compute(fields.join("-"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_upstream() {
        for (fields, key) in [
            (&["BEACH 36 ST"][..], "9440f03bc95426dfed0df95d0768ebd2"),
            (&["MYRTLE-WILLOUGH"], "2e022c4b53de34527d1a8eb5ec5f234b"),
            (&["59 ST"], "83bec2469cfb3627f41bc1248ba74119"),
            (&["R051", "A002"], "6f965bf0ffed44d28140a5610cf69033"),
            (&["2023-12-30"], "a99ee66aca47e884d1bff34a67520bd6"),
        ] {
            assert_eq!(surrogate(fields).as_str(), key);
        }
    }
}
