package main

// passages are read by the voices of a language, by its first subtag: plain prose
// without names, numbers and abbreviations, so that what is heard wrong is the voice's
// fault or the ear's, and not that of a spelling.
var passages = map[string]string{
	"en": `The mill had stood by the river for longer than anybody could remember. In the spring the water came down from the hills and turned the great wheel so fast that the whole house trembled, and in the summer it hardly moved at all. The old miller liked the summer best. He would sit on the wall with a piece of bread, watch the swallows, and listen to the quiet.

One evening a woman came along the road with a lamp in her hand. She asked whether he could grind her corn before the morning, because her children had nothing to eat. He looked at the river, which was low, and at the sky, which was clear. Then he got up without a word and opened the gate.`,
	"es": `El molino estaba junto al río desde hacía más tiempo del que nadie podía recordar. En primavera el agua bajaba de las montañas y movía la gran rueda con tanta fuerza que temblaba toda la casa, y en verano apenas se movía. Al viejo molinero le gustaba más el verano. Se sentaba en el muro con un trozo de pan, miraba las golondrinas y escuchaba el silencio.

Una tarde llegó por el camino una mujer con una lámpara en la mano. Le preguntó si podía moler su trigo antes de la mañana, porque sus hijos no tenían nada que comer. Él miró el río, que estaba bajo, y el cielo, que estaba claro. Después se levantó sin decir una palabra y abrió la puerta.`,
	"fr": `Le moulin se trouvait au bord de la rivière depuis plus longtemps que personne ne pouvait s'en souvenir. Au printemps, l'eau descendait des collines et faisait tourner la grande roue si vite que toute la maison tremblait, et en été elle bougeait à peine. Le vieux meunier préférait l'été. Il s'asseyait sur le mur avec un morceau de pain, regardait les hirondelles et écoutait le silence.

Un soir, une femme arriva par la route avec une lampe à la main. Elle demanda s'il pouvait moudre son blé avant le matin, parce que ses enfants n'avaient rien à manger. Il regarda la rivière, qui était basse, et le ciel, qui était clair. Puis il se leva sans un mot et ouvrit la porte.`,
	"it": `Il mulino stava vicino al fiume da più tempo di quanto chiunque potesse ricordare. In primavera l'acqua scendeva dalle colline e faceva girare la grande ruota così in fretta che tutta la casa tremava, e in estate si muoveva appena. Il vecchio mugnaio preferiva l'estate. Si sedeva sul muro con un pezzo di pane, guardava le rondini e ascoltava il silenzio.

Una sera una donna arrivò lungo la strada con una lampada in mano. Chiese se poteva macinare il suo grano prima del mattino, perché i suoi bambini non avevano niente da mangiare. Lui guardò il fiume, che era basso, e il cielo, che era chiaro. Poi si alzò senza dire una parola e aprì la porta.`,
	"pt": `O moinho ficava junto ao rio havia mais tempo do que qualquer pessoa podia lembrar. Na primavera a água descia das montanhas e girava a grande roda tão depressa que a casa inteira tremia, e no verão ela quase não se movia. O velho moleiro gostava mais do verão. Sentava no muro com um pedaço de pão, olhava as andorinhas e escutava o silêncio.

Uma noite chegou pela estrada uma mulher com uma lâmpada na mão. Perguntou se ele podia moer o seu trigo antes da manhã, porque os seus filhos não tinham nada para comer. Ele olhou o rio, que estava baixo, e o céu, que estava claro. Depois se levantou sem dizer uma palavra e abriu a porta.`,
	"hi": `चक्की नदी के किनारे इतने समय से खड़ी थी कि किसी को याद नहीं था। वसंत में पानी पहाड़ों से नीचे आता था और बड़े पहिये को इतनी तेज़ी से घुमाता था कि पूरा घर काँपता था, और गर्मी में वह मुश्किल से हिलता था। बूढ़े आदमी को गर्मी सबसे अच्छी लगती थी। वह दीवार पर रोटी का एक टुकड़ा लेकर बैठता था, चिड़ियों को देखता था और शांति को सुनता था।

एक शाम एक औरत हाथ में दीपक लेकर सड़क से आई। उसने पूछा कि क्या वह सुबह से पहले उसका अनाज पीस सकता है, क्योंकि उसके बच्चों के पास खाने के लिए कुछ नहीं था। उसने नदी को देखा और आसमान को देखा। फिर वह बिना कुछ कहे उठा और दरवाज़ा खोल दिया।`,
}
