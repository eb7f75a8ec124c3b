package prepare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
)

// Piper's models throw dice: nodes RandomNormalLike, whose sequence goes on from one
// text to the next, so that no text sounds twice the same. fixNoise has them read a
// table instead, from a place that the length scale says in bits that nobody hears:
//
//	k     = round(256 · frac(4096 · scales[1]))
//	noise = table[(k · stride + 0, 1, 2, … ) mod size], in the shape that was asked for
//
// So a text sounds the same in every process, and there are [Takes] ways of saying it.
const (
	// Takes is how many ways there are of saying a text.
	Takes = 256

	// TakeGrid is the grid on which the length scale is; between its points are the takes.
	TakeGrid = 4096

	noiseSize   = 1 << 20
	noiseStride = 4099 // a prime: takes begin far from each other
	noiseSeed   = 0x766f6963656d696c
)

// Numbers of fields in ONNX' messages.
const (
	modelGraph = 7

	graphNode        = 1
	graphInitializer = 5

	nodeInput     = 1
	nodeOutput    = 2
	nodeName      = 3
	nodeOp        = 4
	nodeAttribute = 5

	attributeName = 1
	attributeInt  = 3
	attributeType = 20

	tensorDims    = 1
	tensorType    = 2
	tensorName    = 8
	tensorRawData = 9

	typeFloat, typeInt64 = 1, 7
	attributeIs          = 2 // an int
)

var errModel = errors.New("the model is no ONNX model")

// fixNoise rewrites the model at path. One without dice stays as it is.
func fixNoise(path string) error {
	b, err := os.ReadFile(path) //nolint:gosec // the store's own
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(b)+4*noiseSize+1<<16)
	err = eachField(b, func(f protoField) error {
		if f.number != modelGraph {
			out = append(out, f.raw...)
			return nil
		}
		graph, err := fixGraph(f.body)
		out = appendBytes(out, modelGraph, graph)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, out, 0o644) //nolint:gosec // others may read it
}

func fixGraph(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b)+4*noiseSize+1<<16)
	dice := 0
	err := eachField(b, func(f protoField) error {
		if f.number != graphNode {
			out = append(out, f.raw...)
			return nil
		}
		n, err := readNode(f.body)
		switch {
		case err != nil:
			return err
		case n.op != "RandomNormalLike":
			out = append(out, f.raw...)
			return nil
		case len(n.inputs) != 1 || len(n.outputs) != 1 || n.shaped:
			return fmt.Errorf("node %s throws dice in a way that is not known", n.name)
		}
		if dice == 0 {
			out = append(out, place()...)
		}
		dice++
		out = append(out, lookUp(fmt.Sprintf("voicemill_noise_%d_", dice), n.inputs[0], n.outputs[0])...)
		return nil
	})
	if dice > 0 {
		out = append(out, tables()...)
	}
	return out, err
}

// diceNode is what matters of a node.
type diceNode struct {
	op, name        string
	inputs, outputs []string
	shaped          bool // it has another mean or scale than 0 and 1
}

func readNode(b []byte) (n diceNode, err error) {
	err = eachField(b, func(f protoField) error {
		switch f.number {
		case nodeInput:
			n.inputs = append(n.inputs, string(f.body))
		case nodeOutput:
			n.outputs = append(n.outputs, string(f.body))
		case nodeName:
			n.name = string(f.body)
		case nodeOp:
			n.op = string(f.body)
		case nodeAttribute:
			return eachField(f.body, func(a protoField) error {
				if a.number == attributeName && (string(a.body) == "mean" || string(a.body) == "scale") {
					n.shaped = true
				}
				return nil
			})
		}
		return nil
	})
	return n, err
}

// place returns the nodes that find the place in the table that scales says.
func place() []byte {
	const p = "voicemill_take_"
	var b []byte
	b = append(b, node("Gather", []string{"scales", p + "one"}, p+"scale")...)
	b = append(b, node("Mul", []string{p + "scale", p + "grid"}, p+"steps")...)
	b = append(b, node("Floor", []string{p + "steps"}, p+"floor")...)
	b = append(b, node("Sub", []string{p + "steps", p + "floor"}, p+"rest")...)
	b = append(b, node("Mul", []string{p + "rest", p + "takes"}, p+"exact")...)
	b = append(b, node("Round", []string{p + "exact"}, p+"rounded")...)
	b = append(b, node("Cast", []string{p + "rounded"}, p+"k", attr{"to", typeInt64})...)
	b = append(b, node("Mul", []string{p + "k", p + "stride"}, p+"start")...)
	return b
}

// lookUp returns the nodes that fill the shape of input from the table.
func lookUp(p, input, output string) []byte {
	const take = "voicemill_take_"
	var b []byte
	b = append(b, node("Shape", []string{input}, p+"shape")...)
	b = append(b, node("ReduceProd", []string{p + "shape"}, p+"n", attr{"keepdims", 0})...)
	b = append(b, node("Add", []string{take + "start", p + "n"}, p+"end")...)
	b = append(b, node("Range", []string{take + "start", p + "end", take + "one"}, p+"count")...)
	b = append(b, node("Mod", []string{p + "count", take + "size"}, p+"index")...)
	b = append(b, node("Gather", []string{take + "table", p + "index"}, p+"flat")...)
	b = append(b, node("Reshape", []string{p + "flat", p + "shape"}, output)...)
	return b
}

// tables returns the constants of place and lookUp.
func tables() []byte {
	const p = "voicemill_take_"
	dice := rand.New(rand.NewPCG(noiseSeed, 0)) //nolint:gosec // noise, the same on every machine
	raw := make([]byte, 0, 4*noiseSize)
	for range noiseSize {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(dice.NormFloat64())))
	}
	var b []byte
	b = append(b, tensor(p+"grid", typeFloat, binary.LittleEndian.AppendUint32(nil, math.Float32bits(TakeGrid)))...)
	b = append(b, tensor(p+"takes", typeFloat, binary.LittleEndian.AppendUint32(nil, math.Float32bits(Takes)))...)
	b = append(b, tensor(p+"one", typeInt64, binary.LittleEndian.AppendUint64(nil, 1))...)
	b = append(b, tensor(p+"size", typeInt64, binary.LittleEndian.AppendUint64(nil, noiseSize))...)
	b = append(b, tensor(p+"stride", typeInt64, binary.LittleEndian.AppendUint64(nil, noiseStride))...)
	return append(b, tensor(p+"table", typeFloat, raw, noiseSize)...)
}

type attr struct {
	name  string
	value uint64
}

func node(op string, inputs []string, output string, attrs ...attr) []byte {
	var n []byte
	for _, in := range inputs {
		n = appendBytes(n, nodeInput, []byte(in))
	}
	n = appendBytes(n, nodeOutput, []byte(output))
	n = appendBytes(n, nodeName, []byte(output))
	n = appendBytes(n, nodeOp, []byte(op))
	for _, a := range attrs {
		body := appendBytes(nil, attributeName, []byte(a.name))
		body = appendVarint(body, attributeInt, a.value)
		body = appendVarint(body, attributeType, attributeIs)
		n = appendBytes(n, nodeAttribute, body)
	}
	return appendBytes(nil, graphNode, n)
}

// tensor returns a constant; without dims it is a scalar.
func tensor(name string, kind uint64, raw []byte, dims ...uint64) []byte {
	var t []byte
	for _, d := range dims {
		t = appendVarint(t, tensorDims, d)
	}
	t = appendVarint(t, tensorType, kind)
	t = appendBytes(t, tensorName, []byte(name))
	t = appendBytes(t, tensorRawData, raw)
	return appendBytes(nil, graphInitializer, t)
}
