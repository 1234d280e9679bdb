"""The words of generated mail: people, companies, subjects and sentences. Only data; `mailgen` puts it together."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


FIRST_NAMES = _words(
    "Anna Ben Carla David Elena Felix Grace Hugo Irene Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tina Victor "
    "Wanda Yusuf Zoe José François Jürgen Łukasz Søren Zoë Óscar Amélie Björn Chiara Dmitri Eszter Fatima Noor Kenji"
)
LAST_NAMES = _words(
    "Abbott Berger Castillo Duarte Eriksen Fischer Garnier Hansen Ito Jansen Kowalski Lindqvist Moreau Novak Okafor "
    "Petrov Quinn Rossi Schäfer Tanaka Usman Varga Weber Xu Yilmaz Zieliński Núñez Brûlé O'Connor Strauß"
)
COMPANIES = _words(
    "Acme Bluewater Cobalt Driftwood Everline Fernhill Granite Harborview Ironbridge Juniper Kestrel Lakeside Meridian "
    "Northwind Oakridge Pinecrest Quarry Redfern Silverlake Tallgrass Umbra Vantage Westgate Yellowstone Zephyr"
)
PROJECTS = _words(
    "Atlas Beacon Cascade Delta Ember Falcon Glacier Horizon Indigo Juno Kite Lantern Mosaic Nimbus Orchid Pioneer"
)
PRODUCTS = (
    "annual support plan", "onboarding package", "data export", "reporting module", "field sensors", "spare parts kit",
    "training day", "mobile app", "warehouse scanner", "security review",
)  # fmt: skip
DAYS = _words("Monday Tuesday Wednesday Thursday Friday")

SUBJECTS = (
    "{project}: next steps", "Quote for the {product}", "Meeting on {day}", "Contract renewal {company}",
    "Question about invoice {number}", "{project} status report", "Introduction: {person}", "Order {number}",
    "Feedback on the {product}", "Minutes of {day}'s call", "Delivery date for {number}", "Travel to {company}",
    "{company} / {project} – open points", "Budget {year}", "Access to the {project} workspace", "Lunch on {day}?",
    "Renewal of the {product}", "Bug in the {product}", "Proposal for {company} ✓", "Re-planning {project}",
)  # fmt: skip
OPENINGS = (
    "Hi {first},", "Hello {first},", "Dear {first},", "{first},", "Good morning {first},", "Hi all,",
)  # fmt: skip
SENTENCES = (
    "Thanks for the call on {day}; I have written down what we agreed.",
    "Could you send me the latest figures for {project} before {day}?",
    "We have had a look at the {product} and would like to go ahead.",
    "The price we discussed was {amount}, is that still right?",
    "I am adding {person} from {company}, who takes this over while I am away.",
    "Our purchase order is {number}; please put it on the invoice.",
    "There is one open point left: who signs on your side?",
    "The delivery for {number} was moved to {day}, sorry for the short notice.",
    "I have attached the current version, the changes are marked in yellow.",
    "If {day} does not suit you, the week after works just as well for us.",
    "Legal asked for two small changes in the contract with {company}.",
    "We measured it again and the numbers of {project} look much better now.",
    "Please have a look at the third paragraph and tell me what you think.",
    "The team was very happy with the {product}, thank you.",
    "Let us not decide this by mail, a short call is easier.",
    "I could not open the file you sent, can you export it once more?",
    "As far as I can see nothing is missing, so let us close this.",
    "Our budget for {year} is {amount}, everything included.",
    "Reminder: the offer for the {product} ends on {day}.",
    "The workshop takes place at {company}, second floor, at half past nine.",
    "{person} will be there too and brings the samples.",
    "Can we get access to the {project} workspace for two more colleagues?",
    "I forwarded your question to {person}, you should hear from us by {day}.",
    "It would help a lot to have this in writing.",
    "The server was down for eleven minutes last night; the report follows.",
    "We will pay {amount} now and the rest on delivery.",
    "Do you have a reference customer for the {product} we could talk to?",
    "I like the second draft better, it is shorter and says the same.",
)
CLOSINGS = ("Best regards", "Kind regards", "Thanks", "Cheers", "Best", "Talk soon")

NOTICES = (
    ("billing", "Invoice {number} from {company}", "Your invoice {number} over {amount} is due in 14 days."),
    ("shipping", "Your order {number} is on its way", "Order {number} left our warehouse on {day}."),
    ("ci", "[{project}] Build {number} failed", "The build {number} of {project} failed in step test after 4 minutes."),
    ("security", "New sign-in to your {company} account", "We noticed a new sign-in on {day}. Was it you?"),
    ("calendar", "Invitation: {project} review on {day}", "{person} has invited you to the {project} review on {day}."),
    ("support", "[Ticket {number}] {product}", "Your ticket {number} has been answered by {person}."),
)  # fmt: skip
NEWSLETTERS = (
    "This week at {company}", "{company} digest: {project} and more", "5 things about the {product}",
    "Save {amount} on the {product}", "What is new in {project}",
)  # fmt: skip
LIST_SUBJECTS = (
    "[{project}-dev] Release candidate {number}", "[{project}-users] How do I set up the {product}?",
    "[{project}-dev] RFC: drop the old {product}",
)  # fmt: skip
SPAM_SUBJECTS = ("You have WON {amount}", "Cheap {product}!!!", "Urgent: confirm account {number}", "Hot offer {day}")

# language → (charset, subjects, sentences)
FOREIGN: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "de": (
        "iso-8859-1",
        ("Rückfrage zur Bestellung {number}", "Terminänderung für {project}", "Grüße aus München"),
        (
            "Könnten Sie uns bitte die Unterlagen für {project} schicken?",
            "Der Liefertermin verschiebt sich leider auf nächste Woche.",
            "Die Rechnung über {amount} haben wir erhalten, vielen Dank.",
            "Für Rückfragen stehe ich Ihnen gern zur Verfügung.",
        ),
    ),
    "fr": (
        "windows-1252",
        ("Réunion « {project} »", "Facture n° {number}", "À propos de notre échange"),
        (
            "Merci de votre réponse, nous avons bien reçu la commande n° {number}.",
            "Pourriez-vous confirmer la date de livraison prévue ?",
            "Le montant s’élève à {amount}, frais compris.",
            "Nous restons à votre disposition pour toute question.",
        ),
    ),
    "pl": (
        "iso-8859-2",
        ("Zamówienie {number}", "Spotkanie w sprawie {project}"),
        ("Dziękuję za szybką odpowiedź.", "Proszę o potwierdzenie terminu.", "Załączam poprawioną wersję umowy."),
    ),
    "ru": (
        "koi8-r",
        ("Вопрос по заказу {number}", "Встреча по проекту {project}"),
        ("Добрый день, спасибо за письмо.", "Просьба подтвердить дату поставки.", "Счёт отправим завтра."),
    ),
    "el": (
        "iso-8859-7",
        ("Ερώτηση για την παραγγελία {number}",),
        ("Καλημέρα σας.", "Παρακαλώ στείλτε μας την προσφορά.", "Ευχαριστώ πολύ."),
    ),
    "ja": (
        "iso-2022-jp",
        ("お見積りの件 {number}", "会議の日程について"),
        ("お世話になっております。", "資料をお送りいただけますでしょうか。", "よろしくお願いいたします。"),
    ),
    "zh": (
        "gb2312",
        ("关于订单 {number}", "会议安排"),
        ("您好，谢谢您的来信。", "请确认交货日期。", "附件是最新的报价单。"),
    ),
    "emoji": (
        "utf-8",
        ("🚀 {project} launch", "Danke! 🎉 {product}"),
        ("We did it 🎉 – naïve café, “quotes” and all…", "See you at the party 🥳 on {day}!", "€ {number} raised ✓"),
    ),
}
