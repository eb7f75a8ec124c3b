// Command genproto compiles the protobuf files of this module into Go. It links
// the compiler and the generator at the versions of go.mod, so that the same
// sources give the same bytes on every machine and no program is needed besides Go.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "genproto:", err)
		os.Exit(1)
	}
}

// run compiles files, which lie below root, and writes the result below out.
func run(ctx context.Context, root, out string, files []string) error {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, files...)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      new("module=github.com/voicemill/voicemill/api"),
	}
	for _, f := range compiled {
		d := protodesc.ToFileDescriptorProto(f)
		// protocompile keeps its own type for the source info; a round trip makes it plain.
		raw, err := proto.Marshal(d)
		if err != nil {
			return fmt.Errorf("marshal %s: %w", f.Path(), err)
		}
		plain := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(raw, plain); err != nil {
			return fmt.Errorf("unmarshal %s: %w", f.Path(), err)
		}
		request.ProtoFile = append(request.ProtoFile, plain)
	}
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		return fmt.Errorf("prepare the generator: %w", err)
	}
	for _, f := range plugin.Files {
		if f.Generate {
			internal_gengo.GenerateFile(plugin, f)
		}
	}
	response := plugin.Response()
	if response.Error != nil {
		return fmt.Errorf("generate: %s", response.GetError())
	}
	for _, f := range response.GetFile() {
		path := filepath.Join(out, f.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the folder of %s: %w", path, err)
		}
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}
