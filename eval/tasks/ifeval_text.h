/* SPDX-License-Identifier: Apache-2.0 */
/* ifeval_text: sentences, words and languages, where IFEval leans on NLTK and langdetect. Words are NLTK's;
 * sentences and languages are near: NLTK's sentence model and langdetect's profiles are data that is not
 * here. */
#ifndef EVAL_TASKS_IFEVAL_TEXT_H
#define EVAL_TASKS_IFEVAL_TEXT_H

#include "eval/pystr.h"

/* How many of NLTK's word_tokenize's tokens are upper case. */
long words_in_capitals(struct pystr a);
/* About what Punkt counts in English: ends at . ! ? before white space, but not after abbreviations and
 * initials. */
long sentences(struct pystr a);
/* The ISO 639-1 code of the language, by script, and within Latin, Cyrillic, Arabic and Devanagari by letters
 * and frequent words; "" when there is no letter (langdetect raises an exception there). */
const char *language_guess(struct pystr a);

#endif
