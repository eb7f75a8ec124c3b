import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufInputStream;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelPipeline;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import io.netty.util.AsciiString;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;

/** The benchmark's peer on Netty: arguments are host:port, event loops, and optionally certificate and key files. */
public final class Server {
    static final String KEY = "vm_benchmark0000000000000000000";
    static final int DOWNLOAD = 256 << 10;
    static final byte[] JOB = job("{\"id\":\"job_06abcdefghjkmnpqrstvwxyz0123456789abcd\",\"state\":\"running\",\"version\":42,\"class\":\"bulk\","
            + "\"labels\":{\"book\":\"benchmark\"},\"title\":\"A Book\",\"language\":\"en\",\"progress\":{\"segments\":{\"total\":812,\"done\":400,"
            + "\"reused\":120,\"failed\":0},\"chapters\":{\"total\":2,\"ready\":1},\"audio_seconds\":14400.5,\"fraction\":0.493},\"chapters\":["
            + "{\"ordinal\":1,\"title\":\"One\",\"state\":\"ready\",\"audio_seconds\":1203.4,\"artifact\":\"chapter-001.wav\"},"
            + "{\"ordinal\":2,\"title\":\"Two\",\"state\":\"pending\"}],\"artifacts\":[],\"usage\":{\"characters\":123456,\"audio_seconds\":14400.5,"
            + "\"gpu_seconds\":720.1,\"reused_seconds\":1800},\"created_at\":\"2026-11-22T12:00:00.000Z\",\"started_at\":\"2026-11-22T12:00:01.000Z\"}");
    static final byte[] ACCEPTED = "{\"id\":\"job_06abcdefghjkmnpqrstvwxyz0123456789abcd\",\"state\":\"accepted\",\"version\":0}"
            .getBytes(StandardCharsets.US_ASCII);
    static final byte[] LARGE = new byte[DOWNLOAD];
    static final Map<String, byte[]> KEYS;
    static final LongAdder USES = new LongAdder();
    static final LongAdder SERVED = new LongAdder();
    static final ThreadLocal<MessageDigest> SHA = ThreadLocal.withInitial(Server::sha);
    static final ObjectReader SUBMISSION = new ObjectMapper().readerFor(Submission.class);
    static volatile AsciiString date = now();

    static {
        byte[] h = sha().digest(KEY.getBytes(StandardCharsets.US_ASCII));
        KEYS = Map.of(new String(h, StandardCharsets.ISO_8859_1), h);
    }

    /** The body of a POST; unknown members are refused, as Jackson does by default. */
    public static final class Submission {
        public Input input;
        public String voice;
        public Map<String, String> labels;
    }

    /** The text to speak. */
    public static final class Input {
        public String text;
    }

    /** The document that a GET is answered with: that of the gateway under test, if its file is given. */
    private static byte[] job(String ours) {
        String file = System.getProperty("job");
        try {
            return file == null ? ours.getBytes(StandardCharsets.US_ASCII) : Files.readAllBytes(Path.of(file));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** An access log: as many lines a second as the gateway's. */
    static final class Log {
        static final int RATE = 1000;
        private final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.err), false);
        private final AtomicLong second = new AtomicLong();
        private final AtomicLong passed = new AtomicLong();

        boolean wants() {
            long now = System.currentTimeMillis() / 1000;
            long was = second.get();
            if (was != now && second.compareAndSet(was, now)) {
                passed.set(0);
            }
            return passed.get() < RATE && passed.incrementAndGet() <= RATE;
        }

        void write(ChannelHandlerContext ctx, FullHttpRequest req, int status, int bytes, long started) {
            var b = new StringBuilder(256);
            b.append("{\"time\":\"").append(Instant.now()).append("\",\"level\":\"INFO\",\"msg\":\"request\",\"method\":\"").append(req.method().name())
                    .append("\",\"path\":\"").append(req.uri()).append("\",\"status\":").append(status)
                    .append(",\"duration\":").append(System.nanoTime() - started).append(",\"bytes_in\":").append(req.content().readableBytes())
                    .append(",\"bytes_out\":").append(bytes).append(",\"tenant\":\"default\",\"remote\":\"").append(ctx.channel().remoteAddress())
                    .append("\",\"user_agent\":\"").append(req.headers().get(HttpHeaderNames.USER_AGENT)).append("\"}\n");
            byte[] line = b.toString().getBytes(StandardCharsets.UTF_8);
            out.write(line, 0, line.length);
        }
    }

    static final Log LOG = new Log();

    private static MessageDigest sha() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static AsciiString now() {
        return new AsciiString(DateTimeFormatter.RFC_1123_DATE_TIME.format(ZonedDateTime.now(ZoneOffset.UTC)));
    }

    static boolean authorized(String value) {
        if (value == null || !value.startsWith("Bearer ")) {
            return false;
        }
        byte[] h = SHA.get().digest(value.substring(7).getBytes(StandardCharsets.US_ASCII));
        byte[] known = KEYS.get(new String(h, StandardCharsets.ISO_8859_1));
        if (known == null || !MessageDigest.isEqual(known, h)) {
            return false;
        }
        USES.increment();
        return true;
    }

    static final class Handler extends SimpleChannelInboundHandler<FullHttpRequest> {
        @Override
        protected void channelRead0(ChannelHandlerContext ctx, FullHttpRequest req) {
            long started = System.nanoTime();
            HttpResponseStatus status = HttpResponseStatus.NOT_FOUND;
            AsciiString type = HttpHeaderValues.APPLICATION_JSON;
            ByteBuf body = Unpooled.EMPTY_BUFFER;
            String path = req.uri();
            if (!authorized(req.headers().get(HttpHeaderNames.AUTHORIZATION))) {
                status = HttpResponseStatus.UNAUTHORIZED;
            } else if (path.startsWith("/v1/jobs/") && req.method().equals(HttpMethod.GET)) {
                status = HttpResponseStatus.OK;
                if (path.indexOf("/artifacts/", 9) > 0) {
                    type = AsciiString.cached("audio/wav");
                    body = Unpooled.wrappedBuffer(LARGE);
                } else {
                    body = Unpooled.wrappedBuffer(JOB);
                }
            } else if (path.equals("/v1/jobs") && req.method().equals(HttpMethod.POST)) {
                status = submit(req.content());
                body = Unpooled.wrappedBuffer(ACCEPTED);
            }
            SERVED.increment();
            if (LOG.wants()) {
                LOG.write(ctx, req, status.code(), body.readableBytes(), started);
            }
            var resp = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, status, body);
            resp.headers().set(HttpHeaderNames.CONTENT_TYPE, type).set(HttpHeaderNames.DATE, date)
                    .setInt(HttpHeaderNames.CONTENT_LENGTH, body.readableBytes());
            var done = ctx.write(resp);
            if (!HttpUtil.isKeepAlive(req)) {
                done.addListener(ChannelFutureListener.CLOSE);
            }
        }

        private static HttpResponseStatus submit(ByteBuf content) {
            try (InputStream in = new ByteBufInputStream(content)) {
                Submission s = SUBMISSION.readValue(in);
                boolean ok = s.input != null && s.input.text != null && !s.input.text.isEmpty();
                return ok ? HttpResponseStatus.ACCEPTED : HttpResponseStatus.BAD_REQUEST;
            } catch (java.io.IOException e) {
                return HttpResponseStatus.BAD_REQUEST;
            }
        }

        @Override
        public void channelReadComplete(ChannelHandlerContext ctx) {
            ctx.flush();
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
            ctx.close();
        }
    }

    /** Answers each WebSocket message with itself. */
    static final class Echo extends SimpleChannelInboundHandler<WebSocketFrame> {
        @Override
        protected void channelRead0(ChannelHandlerContext ctx, WebSocketFrame frame) {
            ctx.writeAndFlush(frame.retain());
        }
    }

    public static void main(String[] args) throws Exception {
        Arrays.fill(LARGE, (byte) 'x');
        String[] hostPort = args[0].split(":");
        boolean tls = args.length > 3;
        SslContext ssl = !tls ? null : SslContextBuilder.forServer(new File(args[2]), new File(args[3])).sslProvider(SslProvider.OPENSSL).build();
        boolean live = Boolean.getBoolean("live"); // the run of idle WebSockets
        var loops = new MultiThreadIoEventLoopGroup(Integer.parseInt(args[1]), EpollIoHandler.newFactory());
        loops.next().scheduleAtFixedRate(() -> date = now(), 1, 1, TimeUnit.SECONDS);
        Channel listener = new ServerBootstrap().group(loops).channel(EpollServerSocketChannel.class)
                .option(io.netty.channel.ChannelOption.SO_BACKLOG, 4096)
                .childHandler(new ChannelInitializer<SocketChannel>() {
                    @Override
                    protected void initChannel(SocketChannel ch) {
                        ChannelPipeline p = ch.pipeline();
                        if (ssl != null) {
                            p.addLast(ssl.newHandler(ch.alloc()));
                        }
                        p.addLast(new HttpServerCodec(), new HttpObjectAggregator(1 << 20));
                        if (live) {
                            p.addLast(new WebSocketServerProtocolHandler("/v1/jobs/x/live"), new Echo());
                        } else {
                            p.addLast(new Handler());
                        }
                    }
                }).bind(new InetSocketAddress(hostPort[0], Integer.parseInt(hostPort[1]))).sync().channel();
        InetSocketAddress at = (InetSocketAddress) listener.localAddress();
        System.out.println(at.getAddress().getHostAddress() + ":" + at.getPort());
        listener.closeFuture().sync();
    }
}
