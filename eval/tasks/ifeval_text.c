/* SPDX-License-Identifier: Apache-2.0 */
/* ifeval_text: what IFEval's checkers need to know about text. */
#include "eval/tasks/ifeval_text.h"

#include <string.h>

#include "eval/extract.h"

/* nltk.tokenize.destructive, in its order; white space is split at the end. Sentences are not split first:
 * where a full stop ends up has no say in whether a word is upper case. */
static const struct {
    const char *expression, *replacement;
    unsigned flags;
} word_steps[] = {
    {"([«“‘„]|[`]+)", " $1 ", 0},
    {"^\"", "``", 0},
    {"(``)", " $1 ", 0},
    {"([ \\(\\[{<])(\"|'{2})", "$1 `` ", 0},
    {"(?<!\\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\\b)(?=\\w)", "$1 ", PATTERN_IGNORECASE},
    {"([^\\.])(\\.)([\\]\\)}>\"' »”’]*+)[" PY_SPACE "]*$", "$1 $2 $3 ", 0},
    {"([:,])([^\\d])", " $1 $2", 0},
    {"([:,])$", " $1 ", 0},
    {"\\.{2,}", " $0 ", 0},
    {"[;@#$%&]", " $0 ", 0},
    {"[\\x{2012}-\\x{2015}]", " $0 ", 0},
    {"([^\\.])(\\.)([\\]\\)}>\"']*)[" PY_SPACE "]*$", "$1 $2$3 ", 0},
    {"[?!]", " $0 ", 0},
    {"([^'])' ", "$1 ' ", 0},
    {"[*]", " $0 ", 0},
    {"[\\]\\[\\(\\)\\{\\}\\<\\>]", " $0 ", 0},
    {"--", " -- ", 0},
    {"\\A", " ", 0},
    {"\\z", " ", 0},
    {"([»”’])", " $1 ", 0},
    {"''", " '' ", 0},
    {"\"", " '' ", 0},
    {"[" PY_SPACE "]+", " ", 0},
    {"([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 ", 0},
    {"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 ", 0},
    {"\\b(can)(not)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(d)('ye)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(gim)(me)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(gon)(na)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(got)(ta)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(lem)(me)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(more)('n)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {"\\b(wan)(na)(?=[" PY_SPACE "])", " $1 $2 ", PATTERN_IGNORECASE},
    {" ('t)(is)\\b", " $1 $2 ", PATTERN_IGNORECASE},
    {" ('t)(was)\\b", " $1 $2 ", PATTERN_IGNORECASE},
};

/* Takes the next run without white space off the front; empty at the end. */
static struct pystr next_word(struct pystr *rest) {
    *rest = pystr_lstrip(*rest);
    size_t at = 0;
    uint32_t code;
    while (at < rest->n) {
        size_t n = pystr_next(*rest, at, &code);
        if (pystr_isspace(code)) break;
        at += n;
    }
    struct pystr word = pystr_slice(*rest, 0, at);
    *rest = pystr_from(*rest, at);
    return word;
}

long words_in_capitals(struct pystr a) {
    struct buffer now = {0};
    pystr_put(&now, a);
    for (size_t i = 0; i < sizeof word_steps / sizeof *word_steps; i++) {
        struct buffer next = {0};
        struct pattern *p = pattern_open(word_steps[i].expression, word_steps[i].flags, NULL);
        if (p) {
            pattern_replace(p, pystr_in(&now), word_steps[i].replacement, &next);
            buffer_free(&now);
            now = next;
        }
        pattern_close(p);
    }
    long n = 0;
    struct pystr rest = pystr_in(&now), word;
    while ((word = next_word(&rest)).n) n += pystr_isupper(word);
    buffer_free(&now);
    return n;
}

static int one_of(struct pystr word, const char *const *list) {
    for (; *list; list++)
        if (pystr_is(word, *list)) return 1;
    return 0;
}

/* 1: a full stop after this word does not end a sentence: an abbreviation, an initial, a number of a list. */
static int abbreviates(struct pystr word) {
    static const char *const known[] = {
        "mr", "mrs", "ms",  "dr",  "prof", "st",  "vs",   "etc",  "e.g", "i.e",  "inc", "corp", "co",   "ltd",
        "jr", "sr",  "jan", "feb", "mar",  "apr", "aug",  "sept", "sep", "oct",  "nov", "dec",  "gen",  "col",
        "lt", "sgt", "rep", "sen", "gov",  "rev", "hon",  "u.s",  "u.k", "u.n",  "a.m", "p.m",  "ph.d", "d.c",
        "no", "fig", "al",  "cf",  "pp",   "vol", "dept", "est",  "ave", "blvd", "mt",  "ft",   "bros", NULL};
    struct buffer lower = {0};
    pystr_lower(&lower, pystr_strip_of(word, "\"'([{*_"));
    struct pystr w = pystr_in(&lower);
    int letter = pystr_length(w) == 1 && ((w.s[0] >= 'a' && w.s[0] <= 'z') || (w.s[0] & 0x80));
    int number = w.n > 0;
    for (size_t i = 0; i < w.n; i++) number &= w.s[i] >= '0' && w.s[i] <= '9';
    int is = letter || number || one_of(w, known);
    buffer_free(&lower);
    return is;
}

long sentences(struct pystr a) {
    struct pystr rest = pystr_strip(a), word;
    long n = 0;
    int open = 0;
    while ((word = next_word(&rest)).n) {
        open = 1;
        struct pystr core = word;
        while (core.n && strchr("\"')]}*_`", core.s[core.n - 1])) core.n--;
        while (pystr_ends(core, "”") || pystr_ends(core, "’")) core.n -= 3;
        char last = core.n ? core.s[core.n - 1] : 0;
        int ends = last == '!' || last == '?';
        if (last == '.' && !pystr_ends(core, "..")) ends = !abbreviates(pystr_slice(core, 0, core.n - 1));
        if (!ends) continue;
        n++;
        open = 0;
    }
    return n + open;
}

/* Which letters a text has. */
enum script { LATIN, CYRILLIC, ARABIC, DEVANAGARI, KANA, HAN, OTHERS };
static const struct {
    uint32_t first, last;
    const char *language; /* of scripts that one language has to itself; NULL: see `script` */
    enum script script;
} ranges[] = {
    {'A', 'Z', NULL, LATIN},          {'a', 'z', NULL, LATIN},        {0xc0, 0x24f, NULL, LATIN},
    {0x1e00, 0x1eff, NULL, LATIN},    {0x400, 0x52f, NULL, CYRILLIC}, {0x600, 0x6ff, NULL, ARABIC},
    {0x900, 0x97f, NULL, DEVANAGARI}, {0x3040, 0x30ff, NULL, KANA},   {0x4e00, 0x9fff, NULL, HAN},
    {0x370, 0x3ff, "el", OTHERS},     {0x590, 0x5ff, "he", OTHERS},   {0x980, 0x9ff, "bn", OTHERS},
    {0xa00, 0xa7f, "pa", OTHERS},     {0xa80, 0xaff, "gu", OTHERS},   {0xb80, 0xbff, "ta", OTHERS},
    {0xc00, 0xc7f, "te", OTHERS},     {0xc80, 0xcff, "kn", OTHERS},   {0xd00, 0xd7f, "ml", OTHERS},
    {0xe00, 0xe7f, "th", OTHERS},     {0xac00, 0xd7a3, "ko", OTHERS}, {0x1100, 0x11ff, "ko", OTHERS},
};
enum { RANGES = sizeof ranges / sizeof *ranges };

/* Frequent words and telling endings of the languages that share a script; a word counts for each list it is
 * in. */
static const struct {
    enum script script;
    const char *language, *words;
} frequent[] = {
    {LATIN, "en",
     " the of and to in is that it for was on are as with his they at be this have from or had by but not "
     "what all were we when your can there an which their if will each about how up out them you i my "},
    {LATIN, "de",
     " der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden "
     "aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur "
     "ich "},
    {LATIN, "fr",
     " de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec "
     "son cette mais ou nous vous je à été ces être aux elle "},
    {LATIN, "es",
     " de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me "
     "sin sobre este ya entre cuando todo esta ser son también fue "},
    {LATIN, "pt",
     " de a o que e do da em um para com não uma os no se na por mais as dos como mas foi ao ele das tem à "
     "seu sua ou ser quando muito nos já está eu também só pelo pela até isso ela são "},
    {LATIN, "it",
     " di e il la che in un a per è una non sono con del si da come le dei nel alla più anche i gli della lo "
     "ma ha questo al delle ci o se mi ti cui perché "},
    {LATIN, "nl",
     " de het een en van ik te dat die in je is niet zijn op aan met voor er hij maar om ook als dan zo ze "
     "wat bij naar nog wel uit kan geen worden door deze "},
    {LATIN, "fi",
     " ja on ei että se oli hän ovat en mutta kun niin myös tai sen kuin joka mitä ole minä hänen olen sitä "
     "tämä voi vain jos nyt siitä kaikki ne sinä me olisi "},
    {LATIN, "sw",
     " na ya wa kwa ni za katika la kuwa hii cha kama au yake huu lakini pia hiyo ili watu sana kila vya "
     "yako "
     "wake ambayo hivyo moja yangu mimi wewe sisi wao "},
    {LATIN, "vi",
     " và của là có cho không được trong một với các đã những người này để khi từ cũng về như tôi bạn nhiều "
     "ra đến hay nó rất sẽ đó phải "},
    {LATIN, "sv",
     " och i att det som en på är av för med den till inte om har de ett var jag men sig från vi så kan "
     "när "},
    {LATIN, "id",
     " yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada "},
    {LATIN, "tr",
     " ve bir bu da de için ile çok olarak daha o gibi ama olan kadar sonra ben ne var değil mi "},
    {CYRILLIC, "ru",
     " и в не на что я с он как это по но они мы все за из у же к от бы так для вы было был только мне "
     "когда если или его её их есть чтобы ы э "},
    {CYRILLIC, "bg",
     " и на да се в за не от е са с по като че до ще или но той това които при му си тя беше както съм "
     "този много има със "},
    {CYRILLIC, "uk", " і в на не що з та у як до це за для я він є але від про так його її ми ви вони й "},
    {ARABIC, "ar",
     " في من على إلى أن هذا التي ما لا الذي هو عن مع كان هذه هي كل بعد قد و أو ذلك بين كما لم عند "},
    {ARABIC, "fa",
     " و در به از که این را با است برای آن یک خود تا کرد بر هم نیز می شود ما من شما یا اما های "},
    {ARABIC, "ur", " کے میں کی ہے اور سے کا کو اس کہ ہیں پر نے یہ ایک بھی نہیں تھا ہو وہ کر گا آپ تو جو "},
    {DEVANAGARI, "hi", " के का की है में और से को पर है। हैं यह एक नहीं भी ने कि हो इस था जो तो कर आप हम मैं हूँ गया "},
    {DEVANAGARI, "mr",
     " आहे आणि या च्या ते आहे. आहेत हा ही हे तर एक मी आपण केला होते मध्ये नाही त्या झाला असे तो ती "
     "करण्यासाठी माझ्या आपल्या "},
    {DEVANAGARI, "ne",
     " छ र को मा हो पनि यो लाई गर्न भएको छन् एक छ। हुन्छ हो। थियो गर्ने तर उनी म भने हुन् तपाईं हाम्रो हरू "},
};
enum { LISTS = sizeof frequent / sizeof *frequent };

static enum script main_script(struct pystr a, const char **language) {
    long count[RANGES] = {0}, of_script[OTHERS] = {0};
    uint32_t code;
    for (size_t at = 0; at < a.n; at += pystr_next(a, at, NULL)) {
        pystr_next(a, at, &code);
        for (int i = 0; i < RANGES; i++)
            if (code >= ranges[i].first && code <= ranges[i].last && code != 0xd7 && code != 0xf7) {
                count[i]++;
                if (!ranges[i].language) of_script[ranges[i].script]++;
            }
    }
    long most = 0;
    enum script best = OTHERS;
    *language = "";
    for (int i = 0; i < OTHERS; i++)
        if (of_script[i] > most) most = of_script[i], best = (enum script)i;
    for (int i = 0; i < RANGES; i++)
        if (ranges[i].language && count[i] > most)
            most = count[i], best = OTHERS, *language = ranges[i].language;
    if (best == HAN && of_script[KANA] * 10 > of_script[HAN]) best = KANA;
    return best;
}

const char *language_guess(struct pystr a) {
    const char *language;
    enum script script = main_script(a, &language);
    if (script == OTHERS) return language;
    if (script == KANA) return "ja";
    if (script == HAN) return "zh-cn";
    long count[LISTS] = {0};
    struct buffer lower = {0};
    pystr_lower(&lower, a);
    struct pystr rest = pystr_in(&lower), word;
    while ((word = next_word(&rest)).n) {
        word = pystr_strip_of(word, ".,;:!?\"'()[]{}*<>-_#");
        if (word.n == 0 || word.n > 40) continue;
        char spaced[48] = " ";
        memcpy(spaced + 1, word.s, word.n);
        spaced[word.n + 1] = ' ';
        for (int i = 0; i < LISTS; i++)
            count[i] += frequent[i].script == script && strstr(frequent[i].words, spaced) != NULL;
    }
    buffer_free(&lower);
    int best = -1;
    for (int i = 0; i < LISTS; i++)
        if (frequent[i].script == script && (best < 0 || count[i] > count[best])) best = i;
    return best < 0 ? "" : frequent[best].language; /* "": a script without lists */
}
