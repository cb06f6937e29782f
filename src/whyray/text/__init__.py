"""Reports as text: sections, sentences, assertion, finding labels and explanations, by rules that are data."""
