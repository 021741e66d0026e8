import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, authed, type Schemas } from "../api";
import { kept } from "../kept";
import { lang, t } from "../i18n";
import { prepared } from "../photo";
import { described, upload, type Problem } from "../scan";
import { role } from "../session";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";

type Line = { who: "me" | "eco"; text: string; image?: string; job?: string; open?: boolean; items?: Schemas["Answered"][]; failed?: string };
type Frame = { content?: string; accumulated?: string; status?: string; message?: string; result?: { answer?: string; persistence?: { assistant_image_url?: string | null } } | "" };

const LONGEST = 500;
const FIRST = { ko: ["기름 묻은 피자 상자는 어떻게 버려요?", "다 쓴 보조 배터리는 어디에 버려요?", "깨진 유리컵은요?"], en: ["How do I throw away a greasy pizza box?", "Where does a used power bank go?", "What about a broken glass?"] };

/** Questions: a kept and streamed chat for who is signed in, an answer at once for everybody else. */
export function Ask() {
  // `wasPush` is missing in the router's types: true where a click in the page led here.
  const { query, wasPush } = useLocation() as ReturnType<typeof useLocation> & { wasPush?: boolean };
  const linked = (query.q ?? "").slice(0, LONGEST);
  const [lines, setLines] = useState<Line[]>([]);
  const [word, setWord] = useState(linked);
  const [chat, setChat] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [failed, setFailed] = useState<{ id: string; problem: Problem } | null>(null);
  const [photo, setPhoto] = useState<{ blob: Blob; url: string } | null>(null);
  const album = useRef<HTMLInputElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const stream = useRef<EventSource | null>(null);
  /** Counts the conversations shown: an answer that comes after its own was left is dropped. */
  const shown = useRef(0);
  /** Stops an upload whose conversation was left. */
  const stopping = useRef(new AbortController());
  /** The old chat that was asked for last. */
  const opening = useRef("");
  const busy = lines.at(-1)?.open === true;
  const last = (part: Partial<Line>) => setLines((all) => [...all.slice(0, -1), { ...all.at(-1)!, ...part }]);

  const leave = () => {
    shown.current++;
    stream.current?.close();
    stopping.current.abort();
    stopping.current = new AbortController();
  };
  useEffect(() => leave, []);
  const attach = async (file: File | undefined) => {
    if (!file) return;
    setProblem(null);
    try {
      const blob = await prepared(file);
      setPhoto({ blob, url: URL.createObjectURL(blob) });
    } catch (error) {
      setProblem(described(error));
    }
  };
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [lines.length]);
  useEffect(() => {
    // A link of another site, or a reload, only fills the field: questions count against somebody's budget.
    if (linked && wasPush) void ask(linked);
  }, []);

  const ask = async (text: string) => {
    const seen = role.value === "citizen" ? photo : null;
    const asked = text.trim() || (seen ? t("ask.photo.what") : "");
    if (!asked || busy) return;
    setWord("");
    setPhoto(null);
    setProblem(null);
    setFailed(null);
    setLines((all) => [...all, { who: "me", text: asked, image: seen?.url }, { who: "eco", text: "", open: true }]);
    const here = shown.current;
    try {
      await (role.value === "citizen" ? inChat(asked, seen?.blob, here) : atOnce(asked, here));
    } catch (error) {
      if (here !== shown.current) return;
      setLines((all) => all.slice(0, -2));
      setWord(text.trim());
      setPhoto(seen);
      setProblem(described(error));
    }
  };

  const atOnce = async (question: string, here: number) => {
    const district = kept<string>("district");
    const answer = await authed(() => api.POST("/api/v1/recycling/ask", { body: { question, district, lang: lang.value } }));
    if (here !== shown.current) return;
    last({ text: [answer.emergency && `${answer.emergency.call}\n${answer.emergency.first.join("\n")}`, answer.answer, answer.clarify !== answer.answer && answer.clarify].filter(Boolean).join("\n\n"), items: answer.items, open: false });
  };

  const inChat = async (message: string, blob: Blob | undefined, here: number) => {
    const image_url = blob && (await upload(blob, "chat", stopping.current.signal)).cdn_url;
    if (here !== shown.current) return;
    let id = chat;
    if (!id) {
      id = (await authed(() => api.POST("/api/v1/chat", { body: {} }))).id;
      if (here !== shown.current) return;
      setChat(id);
    }
    const turn = await authed(() => api.POST("/api/v1/chat/{chat_id}/messages", { params: { path: { chat_id: id } }, body: { message, image_url, inputs: [] } }));
    if (here !== shown.current) return;
    last({ job: turn.job_id });
    follow(turn.job_id);
  };

  const follow = (job: string) => {
    let text = "";
    const source = new EventSource(`/api/v1/chat/${job}/events`);
    stream.current = source;
    const on = (name: string, said: (frame: Frame) => void) => source.addEventListener(name, (event) => said(JSON.parse((event as MessageEvent<string>).data) as Frame));
    on("token", (frame) => last({ text: (text += frame.content ?? "") }));
    on("token_recovery", (frame) => last({ text: (text = frame.accumulated ?? text) }));
    on("done", (frame) => {
      source.close();
      const answer = frame.result && frame.result.answer;
      const image = (frame.result && frame.result.persistence?.assistant_image_url) || undefined;
      last({ text: answer || text, image, open: false, failed: frame.status === "completed" ? undefined : frame.message || t("error.failed") });
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) last({ open: false, failed: t("error.other.more") });
    };
  };

  const stop = (job: string) => void authed(() => api.POST("/api/v1/chat/{job_id}/cancel", { params: { path: { job_id: job } } })).catch(() => undefined);
  const show = async (id: string) => {
    opening.current = id;
    setFailed(null);
    try {
      const found = await authed(() => api.GET("/api/v1/chat/{chat_id}", { params: { path: { chat_id: id } } }));
      if (opening.current !== id) return;
      leave();
      setProblem(null);
      setChat(id);
      setLines(found.messages.map((one) => ({ who: one.role === "user" ? "me" : "eco", text: one.content, image: one.image_url ?? undefined })));
    } catch (error) {
      if (opening.current === id) setFailed({ id, problem: described(error) });
    }
  };

  return (
    <Main title={t("ask.title")} lead={lines.length ? undefined : t("ask.lead")}>
      {lines.length === 0 && (
        <ul class="chips" aria-label={t("ask.examples")}>
          {FIRST[lang.value].map((one) => <li key={one}><button type="button" onClick={() => void ask(one)}>{one}</button></li>)}
        </ul>
      )}
      <ol class="talk" aria-label={t("ask.talk")}>
        {lines.map((line, n) => (
          <li key={n} class={line.who} aria-busy={line.open}>
            <span class="hidden">{line.who === "me" ? t("ask.me") : t("site")}</span>
            {line.image && <img class="sent" src={line.image} alt={t(line.who === "me" ? "ask.photo" : "ask.picture")} />}
            {line.open && !line.text && <span class="dots" role="status"><span class="hidden">{t("ask.thinking")}</span></span>}
            {line.text.split("\n").filter(Boolean).map((part, m) => <p key={m}>{part}</p>)}
            {line.failed && <p class="failed">{line.failed}</p>}
            {line.items?.filter((one) => one.item).map((one) => (
              <p key={one.item}><a href={`${lang.value === "en" ? "/en" : ""}/rules/${one.item}`}>{one.name} · {one.stream_name}</a></p>
            ))}
            {line.open && line.job && <button type="button" class="quiet" onClick={() => stop(line.job!)}><Icon name="stop" /> {t("ask.stop")}</button>}
          </li>
        ))}
      </ol>
      <p class="hidden" role="status">{!busy && lines.at(-1)?.who === "eco" ? lines.at(-1)!.text : ""}</p>
      {problem && <ProblemCard problem={problem} again={() => void ask(word)} />}
      {failed && <ProblemCard problem={failed.problem} again={() => void show(failed.id)} />}
      <form class="composer" onSubmit={(event) => { event.preventDefault(); void ask(word); }}>
        <label class="hidden" for="question">{t("ask.title")}</label>
        {photo && (
          <p class="attached">
            <img src={photo.url} alt={t("ask.photo")} width="56" height="56" />
            <button type="button" class="quiet" onClick={() => setPhoto(null)}>{t("ask.photo.drop")}</button>
          </p>
        )}
        <div class="field">
          {role.value === "citizen" && (
            <>
              <button type="button" class="secondary" aria-label={t("ask.photo.add")} title={t("ask.photo.add")} onClick={() => album.current?.click()}><Icon name="image" /></button>
              <input ref={album} hidden type="file" accept="image/*,.heic,.heif" onChange={(event) => { void attach(event.currentTarget.files?.[0]); event.currentTarget.value = ""; }} />
            </>
          )}
          <input id="question" type="text" value={word} maxLength={LONGEST} placeholder={t("ask.placeholder")} autocomplete="off" enterkeyhint="send" onInput={(event) => setWord(event.currentTarget.value)} />
          <button type="submit" class="primary" disabled={busy || !(word.trim() || photo)} aria-label={t("ask.send")}><Icon name="send" /></button>
        </div>
      </form>
      <div ref={end} />
      {role.value === "citizen" && <Chats open={show} />}
    </Main>
  );
}

function Chats({ open }: { open: (id: string) => Promise<void> }) {
  const [chats, setChats] = useState<Schemas["ChatInList"][]>([]);
  useEffect(() => {
    authed(() => api.GET("/api/v1/chat", { params: { query: { limit: 10 } } })).then((page) => setChats(page.chats)).catch(() => undefined);
  }, []);
  const rows = chats.filter((one) => one.message_count > 0);
  if (!rows.length) return null;
  return (
    <section>
      <h2>{t("ask.history")}</h2>
      <ul class="rows">
        {rows.map((one) => (
          <li key={one.id}><button type="button" onClick={() => void open(one.id)}><span><b>{one.title || one.preview}</b><small>{one.preview}</small></span><Icon name="next" /></button></li>
        ))}
      </ul>
    </section>
  );
}
