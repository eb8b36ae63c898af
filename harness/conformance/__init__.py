"""The conformance kit: small inputs on which scorers differ, each with the outcome that harness
stands by, held against our own metrics or any other scorer. A json file here is a family of
metrics: its pitfalls and the cases that show them. docs/conformance.md is the manual."""
