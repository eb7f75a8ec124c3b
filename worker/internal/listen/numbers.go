package listen

import (
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// numbers writes every run of numbers as one token, of digits unless it is small,
// however they were said: 1815, "eighteen fifteen" and "one thousand eight hundred and fifteen" are one.
func numbers(tokens []Token) []Token {
	var out []Token
	for i := 0; i < len(tokens); {
		text, n := number(tokens[i:])
		if n == 0 {
			out = append(out, tokens[i])
			i++
			continue
		}
		if name, ok := names[text]; ok { // "every one" is "everyone"
			text = name
		}
		out = append(out, Token{Text: text})
		i += n
	}
	return out
}

// number reads the run of numbers that tokens begin with, and how long it is.
func number(tokens []Token) (digits string, n int) {
	var b strings.Builder
	for n < len(tokens) {
		if t := tokens[n].Text; isNumber(t) {
			b.WriteString(t)
			n++
			continue
		}
		value, used := cardinal(tokens[n:])
		if used == 0 {
			break
		}
		b.WriteString(itoa(value))
		n += used
	}
	return b.String(), n
}

func isNumber(s string) bool { return digits(s) }

// cardinal reads one number in words: at most three scales, so that it fits an int.
func cardinal(tokens []Token) (value, used int) {
	var total, group, last int
	for i := 0; i < len(tokens) && i < maxNumber; i++ {
		t := tokens[i].Text
		small, isSmall := smallNumbers[t]
		scale, isScale := scales[t]
		switch {
		case isSmall && fits(group, last, small):
			group, last = group+small, small
		case t == "hundred" && used > 0 && group > 0 && group < 100:
			group, last = group*100, 100
		case isScale && used > 0 && group > 0 && (total == 0 || total%(scale*1000) == 0):
			total, group, last = total+group*scale, 0, scale
		case t == "and" && last >= 100 && i+1 < len(tokens) && smallNumbers[tokens[i+1].Text] > 0:
			continue // counted with what follows
		case t == "a" && used == 0 && i+1 < len(tokens) && (tokens[i+1].Text == "hundred" || scales[tokens[i+1].Text] > 0):
			group, last = 1, 1
		default:
			return total + group, used
		}
		used = i + 1
	}
	return total + group, used
}

const maxNumber = 16 // words of a number

// fits reports whether small may follow last in a number whose hundreds so far are group.
func fits(group, last, small int) bool {
	switch {
	case group == 0:
		return true
	case last >= 100:
		return small > 0
	case last >= 20 && last%10 == 0:
		return small > 0 && small < 10
	}
	return false
}

// names are the numbers that are parts of other words, too.
var names = map[string]string{
	"0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine", "10": "ten",
}

var scales = map[string]int{"thousand": 1e3, "million": 1e6, "billion": 1e9}

var smallNumbers = map[string]int{
	"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
	"eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
	"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
	"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
	"eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
	"nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50, "sixtieth": 60, "seventieth": 70, "eightieth": 80, "ninetieth": 90,
}
