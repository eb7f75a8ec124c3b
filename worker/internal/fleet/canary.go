package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// CanaryID is the ID of the requests by which a fleet finds out whether an engine
// speaks.
const CanaryID = "canary"

// sentences are what engines are asked to say, by language. English goes where
// there is none.
var sentences = map[string]string{
	"en": "This is a short sentence that is easy to say.",
	"de": "Das ist ein kurzer Satz, der leicht zu sagen ist.",
	"fr": "Voici une phrase courte et facile à dire.",
	"es": "Esta es una frase corta y fácil de decir.",
	"it": "Questa è una frase breve e facile da dire.",
	"pt": "Esta é uma frase curta e fácil de dizer.",
	"ru": "Это короткое предложение, которое легко сказать.",
	"zh": "这是一个很容易说的短句子。",
	"ja": "コレハ イイヤスイ ミジカイ ブンデス。",
	"ko": "이것은 말하기 쉬운 짧은 문장입니다.",
}

// more are the other sentences of a set, by language: longer and shorter ones.
var more = map[string][3]string{
	"en": {"The ferry left the harbour before the last of the passengers had found a seat.", "Nobody answered.", "When the rain stopped at noon, the children ran out to the river and built a dam of stones."},
	"de": {"Die Fähre verließ den Hafen, bevor der letzte Fahrgast einen Platz gefunden hatte.", "Niemand antwortete.", "Als der Regen gegen Mittag aufhörte, liefen die Kinder an den Fluss und bauten einen Damm aus Steinen."},
	"fr": {"Le bac quitta le port avant que le dernier passager eût trouvé une place.", "Personne ne répondit.", "Quand la pluie cessa vers midi, les enfants coururent à la rivière et bâtirent un barrage de pierres."},
	"es": {"El barco salió del puerto antes de que el último pasajero encontrara asiento.", "Nadie respondió.", "Cuando la lluvia cesó a mediodía, los niños corrieron al río y levantaron un dique de piedras."},
	"it": {"Il traghetto lasciò il porto prima che l'ultimo passeggero trovasse un posto.", "Nessuno rispose.", "Quando la pioggia cessò a mezzogiorno, i bambini corsero al fiume e fecero una diga di sassi."},
	"pt": {"A balsa deixou o porto antes que o último passageiro encontrasse um lugar.", "Ninguém respondeu.", "Quando a chuva parou ao meio-dia, as crianças correram até o rio e fizeram uma barragem de pedras."},
	"ru": {"Паром вышел из гавани раньше, чем последний пассажир нашёл себе место.", "Никто не ответил.", "Когда к полудню дождь перестал, дети побежали к реке и построили плотину из камней."},
	"zh": {"渡船在最后一位乘客找到座位之前就离开了港口。", "没有人回答。", "中午雨停了以后，孩子们跑到河边，用石头筑起了一道小坝。"},
	"ja": {"フネハ サイゴノ オキャクガ スワル マエニ ミナトヲ デマシタ。", "ダレモ コタエマセンデシタ。", "ヒルニ アメガ ヤムト コドモタチハ カワヘ ハシリ イシデ セキヲ ツクリマシタ。"},
	"ko": {"마지막 승객이 자리를 찾기 전에 배는 항구를 떠났습니다.", "아무도 대답하지 않았습니다.", "정오에 비가 그치자 아이들은 강으로 달려가 돌로 둑을 쌓았습니다."},
}

// canarySet returns the sentences by which an engine is admitted, in its first voice.
func canarySet(info engine.Info) []engine.Request {
	first := canaryFor(info, nil)
	set := []engine.Request{first}
	language := "en"
	for name, text := range sentences {
		if text == first.Text {
			language = name
		}
	}
	perSecond := float64(utf8.RuneCountInString(first.Text)) / first.Seconds
	for i, text := range more[language] {
		r := first
		r.Text, r.Seed = text, int64(i)+1
		r.Seconds = float64(utf8.RuneCountInString(text)) / perSecond
		set = append(set, r)
	}
	return set
}

// canaryFor returns a canary in the voice that r has; r is nil for any.
func canaryFor(info engine.Info, r *engine.Request) engine.Request {
	c := engine.Request{ID: CanaryID}
	if r != nil {
		c.Voice, c.Language = r.Voice, r.Language
	} else if len(info.Voices) > 0 {
		c.Voice, c.Language = info.Voices[0].Name, info.Voices[0].Language
	}
	language := c.Language
	for _, v := range info.Voices {
		if v.Name == c.Voice && language == "" {
			language = v.Language
		}
	}
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	c.Text = sentences[base]
	if c.Text == "" {
		c.Text = sentences["en"]
	}
	perSecond := 15.0
	if base == "zh" || base == "ja" || base == "ko" {
		perSecond = 5
	}
	c.Seconds = float64(utf8.RuneCountInString(c.Text)) / perSecond
	return c
}

// canaryCheck is what a canary must sound like: its length is a rough guess.
func canaryCheck() check.Config {
	c := check.Default()
	c.MinRatio, c.MaxRatio, c.MaxSilence = 0.1, 10, 15
	return c
}

var errJudged = errors.New("the audio was judged bad")

// judge returns what is wrong with a, said for r by the engine of info, as far as h
// knows the voice. A text without letters and digits may be silent. An engine that
// always says the same is not judged by its past: it would only say it again.
func judge(cfg check.Config, h *check.History, info engine.Info, r engine.Request, a engine.Audio) (check.Verdict, error) {
	if a.Rate <= 0 {
		return check.Verdict{}, &job.Error{Op: "fleet.judge", Kind: job.Internal, Err: fmt.Errorf("audio at %d Hz", a.Rate)}
	}
	speaker := check.Speaker{Voice: r.Voice, Language: r.Language, Speed: r.Speed, Instructions: r.Instructions}
	learns := plain(r.Text) && !info.Repeats
	want := cfg.Rough(r.Seconds)
	if learns {
		want = h.Expect(cfg, speaker, r.Seconds)
	}
	want.Repeats = info.Repeats || check.Repeats(r.Text)
	v := check.Judge(cfg, a.Samples, a.Rate, want)
	if learns {
		h.Note(speaker, r.Seconds, v)
	}
	if v.OK || !r.Speakable() {
		return v, nil
	}
	return v, &job.Error{
		Op: "fleet.judge", Kind: job.Engine, Public: fmt.Sprintf("The audio was not usable: %s.", v.Reason.Says()),
		Err: fmt.Errorf("%w: %s: %s", errJudged, v.Reason, v.Detail),
	}
}

// Prove has driver speak a canary, until ctx ends, and returns why that was
// none.
func Prove(ctx context.Context, driver engine.Engine) error {
	c := canaryFor(driver.Info(), nil)
	answers, err := driver.Synthesize(ctx, []engine.Request{c})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err //nolint:wrapcheck // it says who failed
	}
	_, err = judge(canaryCheck(), check.NewHistory(), driver.Info(), c, answers[0].Audio)
	return err
}

// plain reports whether the length of text tells how long it sounds: a digit or a
// sign may be a word, or nothing.
func plain(text string) bool {
	for _, r := range text {
		if unicode.IsDigit(r) || unicode.IsSymbol(r) {
			return false
		}
	}
	return true
}

// sing asks m for a canary in the voice of r and returns why it did not speak it.
func (f *Fleet) sing(ctx context.Context, m *member, r *engine.Request) error {
	c := canaryFor(m.info, r)
	limit := f.cfg.CallMin
	f.mu.Lock()
	if m.stall && m.phase == well { // the texts that it had wait for what it says
		limit = min(limit, leastStall)
	}
	f.mu.Unlock()
	answers := f.ask(ctx, m, []engine.Request{c}, limit)
	if answers[0].Err != nil {
		return answers[0].Err
	}
	_, err := judge(canaryCheck(), check.NewHistory(), m.info, c, answers[0].Audio)
	return err
}
