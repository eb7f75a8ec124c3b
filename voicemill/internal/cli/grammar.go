package cli

import (
	"time"

	"github.com/alecthomas/kong"
)

// Grammar is the whole command line. Every command is a struct with a method
// Run that may take a context.Context, a *console.Console and, if it talks to
// a server, a *Session.
type Grammar struct {
	Globals

	Up     UpCommand     `cmd:"" passthrough:"" group:"Run" help:"Run everything in one process."`
	Demo   DemoCommand   `cmd:"" group:"Run" help:"Turn a book into audio and show it happening."`
	Doctor DoctorCommand `cmd:"" group:"Run" help:"Check that this machine has what voicemill needs."`
	Init   InitCommand   `cmd:"" group:"Run" help:"Prepare the database of services that run apart, with a first key; may be repeated."`

	Models ModelsCommand `cmd:"" group:"Run" help:"List, install, verify and remove neural voices on this machine."`

	Tenants TenantsCommand `cmd:"" group:"Run" help:"Create and list tenants, in the database."`
	Usage   UsageCommand   `cmd:"" group:"Run" help:"Tell what a tenant has used, by day and key, and what it has stored, from the database."`
	Delete  DeleteCommand  `cmd:"" group:"Run" help:"Delete a job with its text, files and rows, in the database."`
	Fsck    FsckCommand    `cmd:"" group:"Run" help:"Hold the bucket against the database: no object without a row, no row without its object."`

	Submit   SubmitCommand   `cmd:"" group:"Jobs" help:"Hand in a text or a book and get a job id."`
	Watch    WatchCommand    `cmd:"" group:"Jobs" help:"Follow a job until it ends."`
	Status   StatusCommand   `cmd:"" group:"Jobs" help:"Show one job as it is now."`
	List     ListCommand     `cmd:"" group:"Jobs" help:"List jobs, newest first."`
	Cancel   CancelCommand   `cmd:"" group:"Jobs" help:"Stop a job."`
	Get      GetCommand      `cmd:"" group:"Jobs" help:"Fetch the finished files of a job."`
	Verify   VerifyCommand   `cmd:"" group:"Jobs" help:"Hold fetched files against their signed manifest."`
	Timeline TimelineCommand `cmd:"" group:"Jobs" help:"Tell when each sentence of a job that has ended sounds."`
	Deliver  DeliverCommand  `cmd:"" group:"Jobs" help:"Deliver the files of a job into its bucket again."`

	Pause   PauseCommand   `cmd:"" group:"Work" help:"Keep a job from the engines; in the database, as all of these."`
	Resume  ResumeCommand  `cmd:"" group:"Work" help:"Let a paused job go on."`
	Redrive RedriveCommand `cmd:"" group:"Work" help:"Do again what failed of a job, and nothing else."`
	Redo    RedoCommand    `cmd:"" group:"Work" help:"Speak one segment again, otherwise."`
	Set     SetCommand     `cmd:"" group:"Work" help:"Change a job's priority, class or deadline."`

	Voices VoicesCommand `cmd:"" group:"Server" help:"List the voices that the server has."`
	Keys   KeysCommand   `cmd:"" group:"Server" help:"Create, list and revoke API keys."`

	Buckets BucketsCommand `cmd:"" group:"Server" help:"Name, list and forget buckets of your own that files are delivered into."`
}

// Globals are the flags of every command.
type Globals struct {
	URL      string           `name:"url" placeholder:"URL" help:"Address of the server; default $$VOICEMILL_URL or ${default_url}."`
	KeyFile  string           `name:"key-file" placeholder:"FILE" type:"path" help:"File that holds the API key; default $$VOICEMILL_KEY. A key is never a flag, where other users would see it."`
	Cert     string           `name:"cert" placeholder:"FILE" type:"path" help:"PEM file with a client certificate, which may stand for an API key; default $$VOICEMILL_CERT."`
	CertKey  string           `name:"cert-key" placeholder:"FILE" type:"path" help:"PEM file with its private key; default $$VOICEMILL_CERT_KEY."`
	CA       string           `name:"ca" placeholder:"FILE" type:"path" help:"PEM file with the authorities of the server's certificate; default $$VOICEMILL_CA, else the system's."`
	Through  bool             `name:"through-gateway" help:"Send documents and fetch files through the server, where the bucket cannot be reached from here."`
	JSON     bool             `name:"json" help:"Write JSON: one document, or one a line."`
	Patience time.Duration    `name:"patience" default:"10m" placeholder:"TIME" help:"How long to go on trying when the server goes away while a job is followed; default ${default}."`
	Version  kong.VersionFlag `name:"version" help:"Show the version."`
}

const (
	defaultURL  = "http://127.0.0.1:7860"
	description = "voicemill turns text into speech in bulk: hand in a book, get a job id at once, fetch the audio when it is done."
	epilogue    = `
Environment:
  VOICEMILL_URL      address of the server
  VOICEMILL_KEY      API key
  VOICEMILL_CERT, VOICEMILL_CERT_KEY, VOICEMILL_CA
                     client certificate, its key, and whom to trust

Exit codes:
  0    done
  1    something unexpected failed
  2    the command line makes no sense
  3    the job ended failed or cancelled
  4    the server refused the request
  5    the server could not be reached, or is overloaded, after several tries
  6    only a part is there: the job ended partial or has not ended
  7    fsck has found faults and left them
  8    verify has found something that is not as it was signed
  130  interrupted; a job that was handed in goes on
`
)
