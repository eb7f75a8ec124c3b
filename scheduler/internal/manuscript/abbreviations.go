package manuscript

import "strings"

// ending says when the full stop after a word does not end a sentence.
type ending uint8

const (
	never        ending = iota
	anywhere            // whatever follows
	beforeNumber        // if a number follows
)

// abbreviations lists, by language, words in lower case whose full stop does
// not end a sentence. Words that also end sentences ("etc.", "Ltd.") are left
// out: a small letter after them is enough to go on.
var abbreviations = func() map[string]map[string]ending {
	t := map[string]map[string]ending{}
	each := func(lang, always, numbers string) {
		list := map[string]ending{}
		for word := range strings.FieldsSeq(always) {
			list[word] = anywhere
		}
		for word := range strings.FieldsSeq(numbers) {
			list[word] = beforeNumber
		}
		t[lang] = list
	}
	each("en", `mr mrs ms messrs mme mlle dr prof rev hon st ste gen col maj capt cmdr lt sgt cpl pvt adm gov sen rep pres
		supt insp det fr br mt mts ft vs viz cf eg ie approx dept univ ave blvd rd capts`,
		`no nos vol vols ch chap chaps p pp pg par sec secs art arts fig figs pl eq ed ca c b d r jan feb mar apr jun jul aug sept sep oct nov dec bk ps l ll v vv`)
	each("de", `hr hrn fr dr prof dipl ing med phil jur mag st bzw ca evtl ggf inkl exkl vgl geb gest bspw sog vs str
		hl frl kgl sen jun zzgl tsd mio mrd max min allg bes ehem z d u o i a v m b`,
		`nr abb bd bde kap s art abs ziff tab aufl jg anm`)
	each("fr", `m mm mme mmes mlle mlles dr pr me mgr st ste cf env av bd p.ex c.-à-d éd col gén cap cdt lt`,
		`n no nº vol chap p pp art fig t tom`)
	each("es", `sr sra sres sras srta d dña dr dra prof lic ing gral cnel cap tte mons fr sto sta ud uds vd vds av avda cf p.ej aprox dpto`,
		`n núm no vol cap pág págs p pp art fig t tomo`)
	each("it", `sig sigg sig.ra sigra dott dottssa prof profssa avv ing on rag arch mons don s ss cf es geom cav comm gen col cap ten`,
		`n nr vol cap pag pagg p pp art fig tav`)
	each("pt", `sr sra srs sras dr dra prof profa eng d exmo exma av cf ex gen cel cap ten fr sto sta aprox`,
		`n nº núm vol cap pág págs p pp art fig`)
	each("nl", `dhr mw mevr dr drs ir ing prof mr st bijv bv ca evt incl excl jl m.b.t nl o.a t.o.v zgn vgl`,
		`nr blz hfst art afb fig dl p pp`)
	each("sv", `dr prof t.ex bl.a fr hr frk s.k m.m dvs resp ca kl st`, `nr s kap fig bd sid`)
	each("da", `dr prof fr hr f.eks bl.a ca jf kl st`, `nr s kap fig bd`)
	each("nb", `dr prof fr hr f.eks bl.a ca jf kl st`, `nr s kap fig bd`)
	each("ru", `г гг г-н г-жа гр т.е т.к т.п д-р проф акад им ул пл пр св ср см напр обл р руб тыс млн млрд чел`, `с стр гл т рис табл ст п`)
	each("uk", `м п-н п-ні д-р проф акад ім вул див напр обл р тис млн млрд св`, `с стор гл т рис табл ст п`)
	each("pl", `p ul al św dr prof inż mgr hab ks gen płk mjr kpt por np m.in tzn tzw ok tj im`, `nr s str rozdz t rys tab art ust`)
	each("cs", `p pí sl dr prof ing mgr mudr judr sv ul např tzv tj resp arch gen`, `č s str kap obr tab odst roč`)
	each("el", `κ κα κος δρ καθ αγ π.χ βλ λ.χ`, `σελ αρ κεφ τόμ εικ`)
	each("tr", `dr prof doç av sn bkz örn hz sok cad mah`, `no s cilt şek böl`)
	each("hi", `डॉ प्रो श्री पं`, ``)
	each("ar", `د أ م ص`, `ص ج`)
	return t
}()

// ordinals are the languages that write "3." for "third".
var ordinals = map[string]bool{
	"de": true, "da": true, "nb": true, "nn": true, "no": true, "fi": true, "cs": true, "sk": true, "sl": true, "hr": true,
	"sr": true, "bs": true, "hu": true, "et": true, "lv": true, "is": true, "tr": true, "pl": true,
}

// starters are words that begin an English sentence after "U.S." or "p.m."
// more often than they follow it inside one.
var starters = func() map[string]bool {
	t := map[string]bool{}
	for word := range strings.FieldsSeq(`The He She It They We I You But And In On At A An This That These Those There Then When What
		Who Why How His Her Its Their Our My Your If As After Before For From With No Not Yes So Now One Some Many Most All Each`) {
		t[word] = true
	}
	return t
}()
