"""The words that the rule of `roots.py` knows: verbs in which instructions are given, and words around them.

All lists are our own. Verbs stand in the base form; `-ise` and `-yse` are read as `-ize` and `-yze`, so `summarise` and
`summarize` count as one verb.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERBS = _words(
    """
    abbreviate accept acknowledge act adapt add address adjust admit advise advocate align allocate allow
    alphabetize amend amplify analyze annotate anonymize answer anticipate apologize apply appoint appraise
    approximate argue arrange articulate ask assemble assert assess assign assist assume attach attribute audit
    author balance begin bold brainstorm break brief build bullet calculate caption capture carry cast catalog
    catalogue categorize celebrate challenge change characterize chart check choose cite clarify classify clean
    cluster code collect combine come commend comment compare compile complete compose compress compute concentrate
    conclude condense conduct confirm connect consider consolidate construct contextualize continue contrast
    contribute convert convey convince coordinate copy correct correlate count counter cover craft create criticize
    critique crop debate debug decide decipher decode decompose deconstruct deduce deduct defend define delete
    delineate deliver demonstrate depict derive describe design detect determine develop devise diagnose diagram
    dictate differentiate disambiguate discern discover discuss display dissect distill distinguish divide document
    draft draw echo edit elaborate eliminate elucidate emphasize emulate encode encourage enhance enrich ensure
    enter enumerate establish estimate evaluate evoke examine exclude execute exemplify expand explain explore
    expose express extend extract fact-check fetch figure fill filter finalize find finish fix flag focus fold
    follow forecast form formalize format formulate frame furnish gather gauge generalize generate give grade graph
    greet group guess guide harmonize help highlight hold hypothesize identify illustrate imagine implement improve
    incorporate indicate infer inform inquire insert inspect instruct integrate interpret interrogate interview
    introduce invent investigate invite isolate itemize join jot judge justify keep label lay lead lemmatize let
    link list locate look make manage map mark mask match maximize measure memorize mention merge mimic minimize mix
    model modify monitor motivate name narrate negate negotiate nominate normalize note number obtain offer omit
    optimize order organize outline output paint pair paraphrase parse perform permute personalize persuade phrase
    pick pinpoint pitch place plan play point polish ponder portray pose position postulate practice predict prepare
    prescribe present preserve pretend prevent preview print prioritize probe process produce program project prompt
    proofread propose prove provide pull punctuate put quantify quiz quote raise rank rate rationalize react read
    rearrange recall recap recast recite recognize recommend reconcile reconsider reconstruct record recount
    recreate rectify redact redesign reduce refactor refer refine reflect reformat reformulate refute register
    reject relabel relate remember remind remove rename render reorder reorganize repair repeat rephrase replace
    reply report represent reproduce request rescue research resolve respond restate restore restructure retell
    retrieve return reveal reverse review revise reword rewrite rhyme role-play roleplay round rule run save say
    scan schedule score screen search segment select sell send separate sequence serve set share shorten show
    shuffle simplify simulate sing sketch skip slot solve sort specify spell split spot standardize start state stem
    stop stratify strengthen strip structure study submit substitute suggest sum summarize supply support suppose
    survey swap switch synthesize tabulate tag tailor take talk teach tell test think title tokenize trace track
    transcribe transform translate transliterate treat triage trigger trim troubleshoot truncate try turn uncover
    underline understand unpack unscramble update use utilize validate vary verify view visualize vote walk warn
    watch weave weigh widen wish work write
    """
)
"""Base forms in which a task is told, American or Oxford spelling."""

NOUN_TOO = _words(
    """
    address answer author balance brief bullet caption cast catalog catalogue challenge change chart check cluster
    code comment contrast copy correct count counter cover critique debate design diagram display document draft
    echo figure filter fix flag focus fold form format frame grade graph group guess guide help highlight hold
    interview judge label lead link list look map mark mask match measure mix model name note number offer order
    outline output pair phrase pitch place plan play point polish position practice present probe process program
    project prompt pull quiz quote rank rate recap record register reply report request rescue research reverse
    review rhyme round rule run save say scan schedule score screen search segment separate sequence set share show
    slot sort spell split spot start state stem stop strip structure study sum supply support survey switch tag talk
    test title trace track treat triage trigger trim try turn update use view vote walk watch wish work
    """
)
"""Of these, the ones that are also nouns: at the head of a later clause they count only before a noun phrase."""

FRAMES = _words("act assume imagine let pretend roleplay role-play say suppose")
"""Verbs that set the scene; what is to be done usually comes after them."""

OPENERS = _words(
    """
    above according after again against among as assuming at based because before below beneath beside between
    beyond by considering depending despite due during excluding following for from given having here if in
    including inside into keeping like looking near now of on once one out over per provided regarding relying since
    starting such taking than though through throughout to two under unlike until upon using via when whenever where
    whereas while with within without working
    """
)
"""Words with which a sentence starts before its main verb comes, with or without a comma."""

FILLERS = _words(
    """
    again also always and but dear do don't finally first firstly fully hello hey hi just kindly last lastly never
    next not now ok okay or please second secondly so then thirdly thus
    """
)
"""Words that may stand before the verb of a command; adverbs in -ly too."""

WH = _words("what which who whom whose why how when where")
AUXILIARIES = _words(
    """
    is are was were am do does did can could will would shall should may might must has have had isn't aren't doesn't
    don't didn't can't couldn't won't wouldn't shouldn't hasn't haven't
    """
)

DETERMINERS = _words(
    """
    a all an another any both each either enough every few her his its many more most much my neither no one's other
    others our several some such that the their these this those your
    """
)
NUMBERS = _words(
    """
    couple dozen eight eleven fifteen fifty five four half hundred nine one seven six ten thirty thousand
    three twelve twenty two
    """
)
PARTITIVES = _words("all any both each either enough few half many most neither none one several some two three")
"""Before `of`, these only say how many: the noun behind is the object."""

PRONOUNS = _words("i me us you him them it he she we they himself itself themselves yourself someone anyone")

STOPS = _words(
    """
    about above according across after against along alongside although among and as at based be because been before
    behind being below beneath beside besides between beyond but by can concerning could despite did do does due
    during except excluding for from given had has have how however if in including inside instead into is like
    listed may might must near nor of off on onto or out outside over per regarding shall should since so such-as
    than that then there therefore through throughout to toward towards under underneath unless unlike until upon
    using versus via vs was were what when where whereas whether which while who whom whose why will with within
    without would yet
    """
)
"""Words at which a noun phrase ends."""

PARTICLES = _words("up out down off back away forward")

ADJECTIVES = _words(
    """
    active acute adequate adverse apparent appropriate available aware best better big brief broad careful certain
    chronic clear clearer common complex comprehensive concise correct creative current daily dense different
    difficult direct distinct due early easier easy effective engaging entire evident exact extra false fewer final
    first fluent following formal frequent full funny further good great helpful high higher highest important
    inappropriate inconsistent incorrect independent informal key large larger largest last late latest likely
    linked local logical long longer longest low lower lowest main major minor missing moderate modern more most
    multiple mutual necessary negative neutral new next old oldest only original overall own particular plain
    plausible polite positive possible potential precise present primary professional proper public rare readable
    ready real recent related relevant responsible rich same second serious severe sharp short shorter shortest
    significant similar simple simpler single small smaller smallest smooth specific strict strong subtle sufficient
    suitable third top true typical unclear underlying unique unnecessary urgent useful valid various very wide
    worse worst wrong young
    """
)
"""Words that are no head of a noun phrase when a noun stands before them, or when nothing else does."""

ADJECTIVE_ENDINGS = tuple(_words("able al ary based ful ible ic ive less ous related specific term"))
NOUNS_LIKE_ADJECTIVES = _words(
    """
    alternative animal antibiotic appeal approval arrival arsenal boundary capital chemical clinic deal diary
    dictionary directive explosive festival funeral glossary goal hospital incentive individual initiative interval
    itinerary journal laboratory laxative library logic magic manual material meal mechanic metal metric mineral
    music narrative objective panic perspective potential preservative proposal public referral relative removal
    rival salary sedative signal summary survival syllable terminal topic traffic trial tutorial variable vocabulary
    withdrawal
    """
)
"""Nouns that end like adjectives."""

ING_NOUNS = _words(
    """
    beginning bleeding blessing booking breathing briefing building ceiling clothing coding counseling counselling
    drawing dressing ending engineering evening feeding feeling filing finding funding greeting grouping heading
    healing hearing housing imaging learning lighting listing marketing meaning meeting morning naming nursing
    offering opening painting parking planning posting processing programming rating reading reasoning recording
    ruling saying scheduling scoring screening sequencing setting sibling spacing spelling staffing staging string
    swelling teaching testing thing timing training understanding vomiting warning wedding wheezing writing
    """
)
ED_NOUNS = _words("bed bleed breed deed feed med need seed shed speed weed")
LY_NOUNS = _words("anomaly assembly butterfly elderly family fly monopoly reply supply ally rally tally")

ALSO_NOUNS = _words("brief key minor original professional")
"""Of `ADJECTIVES`, those that are taken for a noun where there is no other."""

SINGULARS = dict(
    pair.split(":")
    for pair in _words(
        """
        analyses:analysis antibodies:antibody appendices:appendix axes:axis bacteria:bacterium bases:basis
        biases:bias buses:bus calories:calorie children:child cookies:cookie crises:crisis criteria:criterion
        diagnoses:diagnosis dies:die feet:foot fungi:fungus gases:gas halves:half hypotheses:hypothesis
        indices:index knives:knife leaves:leaf lenses:lens lies:lie lives:life matrices:matrix media:medium
        men:man metastases:metastasis mice:mouse movies:movie nuclei:nucleus parentheses:parenthesis
        phenomena:phenomenon pies:pie prognoses:prognosis prostheses:prosthesis selves:self stimuli:stimulus
        synopses:synopsis syntheses:synthesis teeth:tooth theses:thesis ties:tie vertebrae:vertebra
        viruses:virus women:woman
        """
    )
)
SAME_IN_PLURAL = _words(
    """
    always asthma atlas basis bias bus canvas cons diabetes gas herpes lens measles mumps news pancreas perhaps pros
    rabies scabies series species thus virus
    """
)
"""Words in -s that are singular, or have no other form."""
