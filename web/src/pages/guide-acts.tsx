import { useEffect, useState } from "preact/hooks";
import { lang, t } from "../i18n";
import { Icon } from "../ui/icons";

/** Share, print, read aloud. */
export function Acts({ name, stream, steps }: { name: string; stream: string; steps: string[] }) {
  const [copied, setCopied] = useState(false);
  const [speaking, setSpeaking] = useState(false);
  const text = [`${name}: ${stream}`, ...steps.map((step, n) => `${n + 1}. ${step}`)].join("\n");
  useEffect(() => () => window.speechSynthesis?.cancel(), []);

  const share = async () => {
    try {
      if (navigator.share) await navigator.share({ title: name, text });
      else {
        await navigator.clipboard.writeText(text);
        setCopied(true);
      }
    } catch {
      // Closed by the person, or not allowed here.
    }
  };
  const listen = () => {
    speechSynthesis.cancel();
    if (speaking) return setSpeaking(false);
    const said = new SpeechSynthesisUtterance(text.replaceAll("\n", ". "));
    said.lang = lang.value === "en" ? "en-US" : "ko-KR";
    said.rate = 0.95;
    said.onend = said.onerror = () => setSpeaking(false);
    setSpeaking(true);
    speechSynthesis.speak(said);
  };
  return (
    <div class="acts">
      <button type="button" class="quiet" onClick={() => void share()}><Icon name="share" /> {copied ? t("guide.copied") : t("guide.share")}</button>
      <span class="hidden" role="status">{copied ? t("guide.copied") : ""}</span>
      {"speechSynthesis" in window && (
        <button type="button" class="quiet" aria-pressed={speaking} onClick={listen}><Icon name={speaking ? "stop" : "sound"} /> {speaking ? t("guide.stop") : t("guide.listen")}</button>
      )}
      <button type="button" class="quiet" onClick={() => print()}><Icon name="print" /> {t("guide.print")}</button>
    </div>
  );
}
